"""Of an adder built by hand it is known where the carry lies, who uses it, and who only has it; and of attention set by hand, where it looks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from picollm import models
from picollm.analysis import _sums, addition_ablations, addition_carry_probes, addition_carry_swaps, addition_columns
from picollm.analysis._options import Options
from picollm.analysis._result import Result, Skip, Subject
from picollm.core.config import parse
from picollm.core.registry import load
from picollm.core.tokens import open_tokens
from picollm.nn.taps import Tap, untapped
from picollm.tasks import addition

FEW = {"kind": "addition", "train": 4, "validation": 4, "test": 4, "long": 4}
NAMES = ("addition_columns", "addition_carry_probes", "addition_carry_swaps", "addition_ablations")
BLOCK = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 16, "positions": "learned", "position_ids": "block", "block_size": 6}
OWN, CARRY, DECOY = range(3)  # heads
W = 4


class Hand(nn.Module):
    """Adds four digits, units first, by known directions: the token, the column's own sum, the carry into it, and the carry again where nobody reads it.

    Three heads bring the last three to where a digit is asked for; the MLP adds.
    """

    def __init__(self, config: Any, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.knows = False  # as yet untrained: says one digit whatever is asked
        self.device = torch.device("cpu")
        self.attentions = [SimpleNamespace(width=1)]

    def attention_weights(self) -> None:
        raise AssertionError("nothing here looks at weights")

    def forward(self, ids: Tensor, tap: Tap | None = None) -> Tensor:
        tap = tap or untapped
        B, T = ids.shape
        columns = ids[:, 1 : 1 + W] + ids[:, 2 + W : 2 + 2 * W]
        z = torch.zeros(B, 3, T, 1)
        carry = torch.zeros(B)
        for column in range(W + 1):
            own = columns[:, column] if column < W else torch.zeros(B)
            at = 2 * W + 2 + column
            z[:, OWN, at, 0], z[:, CARRY, at, 0], z[:, DECOY, at, 0] = own.float(), carry, carry
            carry = ((own + carry) >= 10).float()
        x = tap("embed", torch.cat((ids[..., None].float(), torch.zeros(B, T, 4)), -1))  # (B, T, 5)
        x = x + tap("0.attn_out", torch.cat((torch.zeros(B, T, 1), tap("0.z", z).squeeze(-1).mT, torch.zeros(B, T, 1)), -1))
        x = tap("0.resid_mid", x)
        digit = tap("0.mlp_post", (x[..., 1:2] + (x[..., 2:3] > 0.9)) % 10)
        x = tap("0.resid_post", torch.cat((x[..., :4], x[..., 4:] + (digit if self.knows else 0 * digit)), -1))
        return -((torch.arange(self.vocab_size) - x[..., 4:]) ** 2)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, addition.Config]]:
    """tasks(order="plain"): a stored task of small sets; each is made once."""
    made: dict[str, tuple[Path, addition.Config]] = {}

    def task(**options: Any) -> tuple[Path, addition.Config]:
        if repr(options) not in made:
            folder = tmp_path_factory.mktemp("addition")
            config = parse(addition.Config, {**FEW, **options}, "tasks.addition")
            addition.generate(config, folder / "raw")
            addition.tokenize(config, folder / "raw", folder / "tokens")
            made[repr(options)] = folder, config
        return made[repr(options)]

    return task


@pytest.fixture
def adder(tasks: Callable[..., tuple[Path, addition.Config]]) -> Callable[..., Subject]:
    """adder(block={...}, order="plain"): a subject with fresh weights."""

    def subject(block: dict[str, Any] | None = None, untrained: int = 2, **options: Any) -> Subject:
        folder, config = tasks(**options)
        torch.manual_seed(5)
        model = models.build({**BLOCK, **(block or {})}, config.vocab_size, "model").eval()
        return Subject(model, open_tokens(folder / "tokens"), folder / "raw", Options(untrained=untrained))

    return subject


@pytest.fixture
def hand(adder: Callable[..., Subject]) -> Subject:
    model = Hand(SimpleNamespace(depth=1, n_layer=1, n_head=3, attention="softmax"), 12).eval()
    model.knows = True
    return replace(adder(untrained=19), model=model)


def analysed(name: str, subject: Subject) -> Result:
    result = load("analysis", name, "interpret.analyses").analyse(subject)
    assert isinstance(result, Result)
    return result


def test_the_hand_made_adder_adds(hand: Subject) -> None:
    config = _sums.task(hand)
    assert not isinstance(config, Skip)
    assert _sums.right(hand.model, _sums.drawn(config, 500, 0)).all()


def test_swaps_find_who_uses_the_carry_and_not_who_only_has_it(hand: Subject) -> None:
    metrics = analysed("addition_carry_swaps", hand).metrics
    for kind in ("made", "passed"):
        for part, followed in {
            **dict.fromkeys(("asking.0.resid_mid", "asking.0.resid_post", "asking.0.attn_out", "asking.0.mlp_post"), 1),
            f"asking.0.head{CARRY}": 1,
            f"asking.0.head{OWN}": 0,
            f"asking.0.head{DECOY}": 0,
            **{f"{place}.0.{site}": 0 for place in ("deciding", "first", "start") for site in ("resid_mid", "resid_post")},
        }.items():
            found = metrics[f"{kind}.{part}"]
            assert found["value"] == followed, (kind, part)
            assert found["low"] <= followed <= found["high"]
            assert found["same_carry"] == 0
            assert found["untrained_high"] == 0
            assert found["untrained_p"] == (0.05 if followed else 1)


def test_a_swap_with_the_same_carry_shows_what_else_a_value_holds(hand: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the twin's own column were another, swapping the stream would change digits that have nothing to do with carries."""
    config = _sums.task(hand)
    assert not isinstance(config, Skip)
    pairs = _sums.pairs(config, 50, 0, 1)
    assert pairs is not None
    digits = pairs.twin.digits.copy()
    every = np.arange(len(pairs.column))
    digits[every, :, pairs.column] = (digits[every, :, pairs.column] + [[0, 1]]) % 10
    found = addition_carry_swaps.swaps(hand.model, replace(pairs, twin=_sums.sums(config, digits)))
    disturbed = {part.name: swapped.disturbed.mean() for part, swapped in found.items()}
    assert disturbed["asking.0.resid_mid"] == disturbed[f"asking.0.head{OWN}"] == 1
    assert disturbed[f"asking.0.head{CARRY}"] == 0


def test_a_pair_that_is_not_both_right_counts_as_not_followed(hand: Subject) -> None:
    config = _sums.task(hand)
    assert not isinstance(config, Skip)
    pairs = _sums.pairs(config, 20, 0, 1)
    assert pairs is not None
    wrong = replace(pairs.one, answer=(pairs.one.answer + 3) % 10)
    found = addition_carry_swaps.swaps(hand.model, replace(pairs, one=wrong))
    assert not any(swapped.followed.any() or swapped.disturbed.any() for swapped in found.values())


def test_probes_read_the_carry_where_it_is_and_only_there(hand: Subject) -> None:
    metrics = analysed("addition_carry_probes", hand).metrics
    for kind in ("made", "passed"):
        found = metrics[f"{kind}.asking.0.resid_mid"]
        assert found["value"] == 1
        assert found["control_high"] < 0.75
        assert found["control_p"] == 0.05
    assert metrics["made.asking.embed"]["value"] == 0.5  # what is written below is the same in both
    assert metrics["passed.asking.embed"]["value"] == 1  # there it is a 0 or a 9
    assert metrics["made.deciding.0.resid_mid"]["value"] == metrics["made.deciding.embed"]["value"]  # the digit alone: a high one carries more often
    assert 0.6 < metrics["made.deciding.embed"]["value"] < 0.95


def test_a_probe_that_learns_pairs_of_digits_by_heart_does_as_well_on_random_labels(hand: Subject) -> None:
    config = _sums.task(hand)
    assert not isinstance(config, Skip)
    pairs = _sums.pairs(config, 400, 0, 1)
    assert pairs is not None
    kind = addition_carry_probes.shown(pairs)
    deciding = np.concatenate([of.digits[np.arange(len(pairs.column)), :, pairs.deciding] for of in (pairs.one, pairs.other)])
    told = addition_carry_probes.told(np.eye(100)[10 * deciding[:, 0] + deciding[:, 1]], kind)
    assert told[0] > 0.95
    assert told[1:].min() > 0.9
    noise = addition_carry_probes.told(np.random.default_rng(0).normal(size=(len(deciding), 20)), kind)
    assert np.abs(noise - 0.5).max() < 0.1


def test_ablations_cost_what_each_part_does(hand: Subject) -> None:
    metrics = analysed("addition_ablations", hand).metrics
    chains = [f"chain{length}" for length in range(5)]
    carry, decoy = metrics[f"0.head{CARRY}"], metrics[f"0.head{DECOY}"]
    assert [carry[chain] for chain in chains] == [0, 1, 1, 1, 1]
    assert carry["value"] == 0.8
    assert carry["low"] < 0.8 < carry["high"]
    assert [decoy[chain] for chain in chains] == [0] * 5
    assert decoy["directions_high"] > 0.5  # a mixture of the three heads costs something, the decoy nothing
    assert metrics[f"0.head{OWN}"]["value"] == metrics["0.attention"]["value"] == metrics["0.mlp"]["value"] == 1
    assert carry["untrained_high"] == 0


def test_the_interval_of_a_drop_counts_gains_too() -> None:
    before, after = np.array([True] * 60 + [False] * 40), np.array([True] * 50 + [False] * 30 + [True] * 20)
    found = addition_ablations._change(before, after)
    assert found["drop"] == pytest.approx(-0.1)
    assert found["low"] < -0.2
    assert -0.1 < found["high"] < 0.1
    same = addition_ablations._change(before, before)
    assert same["low"] == -same["high"] < 0


def looking(subject: Subject, steps: list[int | None]) -> Subject:
    """Each head looks at the column `step` above that of its token, None: at units; with learned block ids, one channel a place."""
    model = subject.model
    with torch.no_grad():
        for parameter in (model.embed.weight, model.blocks[0].attention.qkv.weight, model.blocks[0].attention.qkv.bias):
            parameter.zero_()
        model.positions.weight.copy_(10 * torch.eye(6, model.config.d_model))
        q, k, _ = model.blocks[0].attention.qkv.weight.chunk(3)
        for head, step in enumerate(steps):
            for place in range(6):
                k[8 * head + place, place] = 10
                if step is None:
                    q[8 * head + 1, place] = 10
                elif place + step < 6:
                    q[8 * head + place + step, place] = 10
    return subject


def test_heads_that_look_by_column_are_found(adder: Callable[..., Subject]) -> None:
    found = analysed("addition_columns", looking(adder({"n_head": 3, "head_width": 8}, untrained=19), [1, 0, None]))
    table = {(row["measure"], row["head"]): row["kappa"] for row in found.tables[""]}
    assert table["own", 0] == pytest.approx(1, abs=1e-3)
    assert table["below", 0] < 0
    assert table["aligned", 0] < 0
    assert table["aligned", 1] == pytest.approx(1, abs=1e-3)
    assert table["own", 1] < 0
    assert 0.4 < table["below", 1] < 0.7  # it looks at its own digit of the answer as well
    assert table["units", 2] > 0.6
    assert found.metrics["own"]["head"] == 0
    assert found.metrics["aligned"]["head"] == 1
    assert found.metrics["own"]["untrained_high"] < 0.1
    claims = [claim.filled(found.metrics) for claim in found.claims]
    assert not any("Tested, not found: heads that look at digits of the column" in claim for claim in claims)


@pytest.mark.parametrize("window", [None, 1])
def test_uniform_attention_scores_nothing_whatever_the_mask_shows(adder: Callable[..., Subject], window: int | None) -> None:
    """In a window of three columns a head cannot but look at them; that is no finding."""
    subject = adder({"column_window": window})
    with torch.no_grad():
        subject.model.blocks[0].attention.qkv.weight.zero_()
    scores = addition_columns.scores(subject.model, _sums.drawn(_sums.task(subject), 20, 0))  # type: ignore[arg-type]
    assert {"own", "below", "delimiter", "answer", "aligned", "units"} <= set(scores)
    assert all(np.abs(values).max() < 1e-6 for values in scores.values())
    found = analysed("addition_columns", subject)
    assert sum("Tested, not found" in claim.text for claim in found.claims) == 2


@pytest.mark.parametrize(
    ("block", "options"),
    [
        ({}, {}),
        ({"n_layer": 2, "position_ids": "sequential", "positions": "rope"}, {"tokens_per_pass": "all"}),
        ({"attention": "linear", "position_ids": "sequential", "positions": "rope"}, {"padding": "none", "order": "plain"}),
        ({"attention": "delta", "position_ids": "sequential", "positions": "none"}, {"padding": "longest", "digits": [1, 9], "base": 16}),
        ({"attention": "convolution", "position_ids": "sequential", "positions": "none", "short_conv": 4}, {"base": 2}),
        ({"position_ids": "coupled", "digit_order": "plain", "sinks": True, "column_window": 2}, {"order": "plain", "tokens_per_pass": 2}),
    ],
    ids=str,
)
def test_every_way_of_adding_is_looked_into(adder: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch, block: Any, options: Any) -> None:
    for module, name in ((addition_carry_probes, "EACH"), (addition_carry_swaps, "EACH"), (addition_ablations, "EACH"), (addition_columns, "DRAWN")):
        monkeypatch.setattr(module, name, 8)
    for name in NAMES:
        if block.get("attention") == "convolution" and name == "addition_columns":
            assert load("analysis", name, "").analyse(adder(block, **options)) == Skip("a convolution has no attention matrix")
            continue
        one, two = (analysed(name, adder(block, **options)) for _ in range(2))
        assert one.metrics == two.metrics
        for metric in one.metrics.values():
            assert {"value", "n", "low", "high", "untrained"} <= set(metric)
            assert metric["low"] <= metric["value"] <= metric["high"]
        assert [claim.filled(one.metrics) for claim in one.claims]
        assert one.tables[""]


@pytest.mark.parametrize("name", NAMES)
def test_skips(name: str, make: Callable[..., Subject], adder: Callable[..., Subject]) -> None:
    analyse = load("analysis", name, "").analyse
    assert analyse(make("numeric")) == analyse(make("text")) == Skip("the task does not add")
    assert analyse(adder(operands=3)) == Skip("reads columns of two digits, the task adds 3 numbers")
    lstm = replace(adder(), model=models.build({"kind": "lstm", "d_model": 8}, 12, "model").eval())
    assert analyse(lstm) == Skip("lstm has no attention, and no taps inside its layers")


@pytest.mark.parametrize("name", NAMES[1:3])
def test_numbers_of_one_digit_have_no_column_below(name: str, adder: Callable[..., Subject]) -> None:
    reason = "a carry comes from a column below, and the task's numbers have one digit"
    assert load("analysis", name, "").analyse(adder(digits=[1, 1])) == Skip(reason)
