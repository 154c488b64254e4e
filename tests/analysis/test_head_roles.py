"""What the two analyses hand over: every head, every number beside its null, and effects that are those of the edited model."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from picollm.analysis import ablation, head_roles
from picollm.analysis._ablation import HOWS, Ablation, Part, heads_of, layers_of
from picollm.analysis._losses import CONTEXT, examples, first, per_sequence
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._roles import ROLES
from picollm.analysis.head_roles import SENSITIVE, rank_correlation
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.training.batches import IGNORED, Batch


def batch_of(subject: Subject) -> Batch:
    batch = examples(subject)
    assert isinstance(batch, Batch)
    return batch


def analysed(subject: Subject, analysis: Callable[[Subject], Result | Skip] = head_roles.analyse) -> Result:
    result = analysis(subject)
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize("data", ["numeric", "modular", "text"])
def test_examples_are_whole_different_and_of_one_length(make: Callable[..., Subject], data: str) -> None:
    batch = batch_of(make(data))
    assert len(np.unique(batch.inputs.numpy(), axis=0)) == len(batch.inputs)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert (batch.targets != IGNORED).all()
    if data == "text":
        assert batch.inputs.shape[1] == CONTEXT


def test_targets_of_a_task_s_own_stay_with_their_sequences(make: Callable[..., Subject], tmp_path: object) -> None:
    """Rows of the most frequent length, whole."""
    subject = make("recall")
    ids = np.array([[1, 2, 3, 9, 9], [4, 5, 6, 9, 9], [1, 2, 3, 9, 9], [7, 6, 5, 9, 9], [2, 4, 6, 9, 9], [1, 1, 1, 1, 1], [8, 8, 9, 9, 9], [3, 3, 3, 9, 9]])
    targets = np.where(ids == 9, 9, (ids + 1) % 9)
    targets[:, 0] = 9
    targets[-1] = 9  # nothing is asked of it
    splits = {name: write_split(tmp_path, name, [array], 10, row_length=5) for name, array in (("test", ids), ("test.targets", targets))}  # type: ignore[arg-type]
    write_header(tmp_path, kind="recall", vocab_size=10, tokenizer={"kind": "integers", "pad": 9}, splits=splits, targets=True)  # type: ignore[arg-type]
    batch = batch_of(Subject(subject.model, open_tokens(tmp_path), subject.raw, subject.options))  # type: ignore[arg-type]
    assert batch.inputs.tolist() == [[1, 2, 3], [4, 5, 6], [7, 6, 5], [2, 4, 6]]
    assert batch.targets[1].tolist() == [IGNORED, 6, 7]


@pytest.mark.parametrize("how", HOWS)
def test_effects_are_those_of_an_edited_pass(make: Callable[..., Subject], how: str) -> None:
    """Whatever goes together in one pass, each set is ablated alone."""
    subject = make(n_layer=2, init="torch_default")
    model, batch = subject.model, first(batch_of(subject), 200)
    sets = [[Part("head", 0, 1)], [Part("head", 1, 0), Part("head", 1, 1), Part("mlp", 0)], [Part("attention", 1)]]
    found = Ablation(model, batch, heads_of(model) + layers_of(model)).without(sets, how)
    plain: dict[str, Tensor] = {}
    before = per_sequence(model, batch, lambda site, value: plain.setdefault(site, value))

    def other(site: str) -> Tensor:
        value = plain[site]
        return {"zero": torch.zeros_like(value), "mean": value.mean((0, -2), keepdim=True).expand_as(value), "resampled": torch.cat((value[-1:], value[:-1]))}[
            how
        ]

    for values, chosen in zip(found, sets, strict=True):

        def tap(site: str, value: Tensor, chosen: list[Part] = chosen) -> Tensor:
            for part in chosen:
                if part.site == site:
                    value = value.clone()
                    value[:, part.head if part.head >= 0 else slice(None)] = other(site)[:, part.head if part.head >= 0 else slice(None)]
            return value

        assert np.allclose(values, per_sequence(model, batch, tap) - before, atol=1e-5)
        assert np.abs(values).max() > 1e-3


@pytest.mark.parametrize("kind", ["softmax", "linear", "retention", "delta"])
def test_every_head_and_every_role_is_reported(make: Callable[..., Subject], kind: str) -> None:
    result = analysed(make(attention=kind, options={"untrained": 2}))
    assert [row["role"] for row in result.tables["roles"]] == [role for role in ROLES if role != "separator"]
    assert [(row["layer"], row["head"]) for row in result.tables[""]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {row["label"] for row in result.tables[""]} == {"unlabelled"}  # two models say nothing
    assert result.metrics["labelled"]["value"] == result.metrics["causal"]["value"] == 0
    assert sum(result.metrics[f"rule.{name}"]["value"] for name in ("diagonal", "local", "token-specific", "global")) == pytest.approx(1)
    for number in result.metrics.values():
        assert {"value", "n", "low", "high", "untrained"} <= set(number)
        assert number["low"] <= number["value"] <= number["high"]
    assert any("Tested, not found: self, previous" in claim.text for claim in result.claims)
    assert all(claim.filled(result.metrics) for claim in result.claims)


def test_every_part_is_ablated_in_every_way(make: Callable[..., Subject]) -> None:
    result = analysed(make(options={"untrained": 2}), ablation.analyse)
    assert len(result.tables[""]) == 3 * (2 * 2 + 2 + 2)
    assert set(result.metrics) == {f"{kind}.{how}" for kind in ("head", "attention", "mlp") for how in HOWS}
    highest = max((row for row in result.tables[""] if row["part"] == "mlp" and row["ablation"] == "zero"), key=lambda row: row["effect"])
    assert result.metrics["mlp.zero"]["layer"] == highest["layer"]
    assert result.metrics["mlp.zero"]["value"] == pytest.approx(highest["effect"], rel=1e-4)


def test_a_convolution_has_layers_and_no_heads(make: Callable[..., Subject]) -> None:
    subject = make(attention="convolution", short_conv=4, positions="none", options={"untrained": 2})
    assert set(analysed(subject, ablation.analyse).metrics) == {f"{kind}.{how}" for kind in ("attention", "mlp") for how in HOWS}
    assert head_roles.analyse(subject) == Skip("a convolution has no heads")


@pytest.mark.parametrize("analyse", [head_roles.analyse, ablation.analyse])
def test_what_cannot_be_looked_into_is_skipped(make: Callable[..., Subject], analyse: Callable[[Subject], Result | Skip]) -> None:
    assert analyse(make(kind="lstm")) == Skip("lstm has no attention, and no taps inside its layers")
    found = analyse(make("recall"))
    assert isinstance(found, Skip)
    assert re.fullmatch("needs 4 different test sequences of one length, there are [123]", found.reason)


def test_rank_correlation_is_that_of_the_order() -> None:
    found = np.array([[1.0, 2.0, 30.0], [4.0, 5.0, 6.0]])
    assert rank_correlation(found, np.stack([found**3, found / 7])) == pytest.approx(1)
    assert rank_correlation(found, np.stack([found, -found])) == pytest.approx(0)
    assert rank_correlation(found[:1], found[None, :1]) is None


def trained(subject: Subject) -> Subject:
    """A few seconds of copying what came eight tokens before: enough for heads to look back."""
    torch.manual_seed(0)
    random = np.random.Generator(np.random.PCG64(1))
    optimizer = torch.optim.Adam(subject.model.parameters(), 0.003)
    for _ in range(400):
        half = torch.from_numpy(random.integers(0, 127, (32, 9)))
        ids = torch.cat((half, half), 1)
        loss = subject.model.loss(ids[:, :-1], torch.where(torch.arange(17) >= 8, ids[:, 1:], IGNORED))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1
    return subject


@pytest.mark.slow
def test_scores_are_not_those_of_the_architecture(make: Callable[..., Subject]) -> None:
    """Fresh weights put the heads into another order (Adebayo et al. 2018), in every role; what an ALiBi slope alone decides is marked."""
    rows = analysed(trained(make(n_layer=2, n_head=4, d_model=64, positions="rope"))).tables["roles"]
    assert all(row["rank_correlation"] < SENSITIVE and row["sensitive"] for row in rows)
    rows = analysed(make(n_layer=2, n_head=4, positions="alibi")).tables["roles"]
    assert not next(row for row in rows if row["role"] == "local")["sensitive"]
