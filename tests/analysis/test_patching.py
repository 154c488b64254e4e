"""A planted copying head brings back all, no other one anything; pairs differ where they should, and the grammar decides between their answers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from picollm.analysis._counterfactuals import EACH, LENGTH, Pairs, _decided, _Texts, of_fables, of_numbers
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.patching import analyse, patched
from picollm.tokenizers._shared import from_json

V, T, BACK = 128, 9, 2


def copier(make: Callable[..., Subject], layer: int, head: int) -> Subject:
    """One head writes the token BACK places before, as loud as the embedding is quiet; nothing else is written."""
    width = V + 16
    subject = make(d_model=width, n_layer=2, n_head=2, head_width=width, positions="learned", block_size=16, tie_embeddings=False)
    model = subject.model
    for block in model.blocks:
        for module in (block.attention.qkv, block.attention.out, block.mlp.down):
            nn.init.zeros_(module.weight)
    with torch.no_grad():
        model.embed.weight.copy_(torch.eye(V, width))
        model.positions.weight.copy_(torch.eye(width)[V:])
        model.head.weight.copy_(torch.eye(V, width))
        attention = model.blocks[layer].attention
        q, k, v = attention.qkv.weight.view(3, 2, width, width)
        k[head, V:, V:] = torch.eye(16)
        q[head, V:, V:] = 100 * torch.eye(16).roll(-BACK, 0)  # place t asks for place t - BACK
        v[head, :V, :V] = torch.eye(V)
        attention.out.weight[:, head * width : (head + 1) * width] = torch.eye(width)
    return subject


def copied() -> Pairs:
    """The answer is the token that the head copies; the other tokens are the same in both, but for one that does not matter."""
    rng = np.random.Generator(np.random.PCG64(0))
    clean = np.stack([rng.permutation(V)[:T] for _ in range(6)])
    corrupted = clean.copy()
    corrupted[:, [1, T - 1 - BACK]] = (clean[:, [1, T - 1 - BACK]] + 50) % V
    place = np.broadcast_to(np.arange(T), clean.shape)
    classes = {"copied": place == T - 1 - BACK, "other": (place < T - 1) & (place != T - 1 - BACK), "last": place == T - 1}
    last = np.full(6, T - 1)
    return Pairs(np.array(["copy"] * 6), clean, corrupted, last, clean[:, T - 1 - BACK], corrupted[:, T - 1 - BACK], classes)


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (1, 0)])
def test_a_planted_copying_head_brings_back_all(make: Callable[..., Subject], layer: int, head: int) -> None:
    found = patched(copier(make, layer, head).model, copied())
    assert found.apart.min() > 1
    shares = dict(zip(found.patches, found.share(np.arange(6)), strict=True))
    for (site, part), share in shares.items():
        if part.startswith("head"):
            wanted = float((site, part) == (str(layer), f"head {head}"))
        else:  # the stream: at the copied token up to the head's layer, from there on at the last one
            before = site == "embed" or int(site) < layer
            wanted = float(part == ("copied" if before else "last"))
        assert share == pytest.approx(wanted, abs=0.02), (site, part)


def test_from_another_pair_the_head_brings_that_pairs_token(make: Callable[..., Subject]) -> None:
    """Which lowers the wrong answer alone, half of the way; nothing where it is that very answer."""
    pairs = copied()
    found = patched(copier(make, 0, 1).model, pairs, donors=(np.arange(6) + 1) % 6)
    shares = dict(zip(found.patches, found.share(np.arange(6)), strict=True))
    foreign = np.roll(pairs.right, -1)
    assert not np.any(foreign == pairs.right)
    assert shares["0", "head 1"] == pytest.approx(0.5 * np.mean(foreign != pairs.wrong), abs=0.01)
    assert shares["0", "head 0"] == pytest.approx(0, abs=1e-6)
    donors = pairs.donors
    assert np.all(pairs.right[donors] != pairs.right)


def test_values_are_counted_back_from_the_last_token(make: Callable[..., Subject]) -> None:
    """The same pairs with one more token in front of every second: patches from a donor of another length meet the same place."""
    pairs = copied()
    clean, corrupted = (np.pad(ids, ((0, 0), (0, 1))) for ids in (pairs.clean, pairs.corrupted))
    longer = np.arange(6) % 2 == 1
    for ids in (clean, corrupted):
        ids[longer] = np.roll(ids[longer], 1, 1)
    classes = {name: np.pad(mask, ((0, 0), (0, 1))) for name, mask in pairs.classes.items()}
    for mask in classes.values():
        mask[longer] = np.roll(mask[longer], 1, 1)
    moved = Pairs(pairs.kinds, clean, corrupted, pairs.last + longer, pairs.right, pairs.wrong, classes)
    found = patched(copier(make, 0, 1).model, moved, donors=np.arange(6) ^ 1)
    shares = dict(zip(found.patches, found.share(np.arange(6)), strict=True))
    foreign = pairs.right[np.arange(6) ^ 1]
    assert shares["0", "head 1"] == pytest.approx(0.5 * np.mean(foreign != pairs.wrong), abs=0.01)


def test_sequences_differ_in_step_or_start(make: Callable[..., Subject]) -> None:
    pairs = of_numbers(make("modular"))
    for kind in ("step", "start"):
        rows = pairs.kinds == kind
        assert 4 <= rows.sum() <= EACH
        clean, corrupted = pairs.clean[rows], pairs.corrupted[rows]
        steps = [(ids[:, 1] - ids[:, 0]) % 127 for ids in (clean, corrupted)]
        if kind == "start":
            assert np.all(steps[0] == steps[1])
        assert np.all((clean[:, 0] == corrupted[:, 0]) == (kind == "step"))
        for ids, step, answer in ((clean, steps[0], pairs.right[rows]), (corrupted, steps[1], pairs.wrong[rows])):
            assert np.all(answer == (ids[:, -1] + step) % 127)
        assert np.all(pairs.right[rows] != pairs.wrong[rows])
    assert np.all(sum(mask.astype(int) for mask in pairs.classes.values()) == 1)


def test_fables_have_pairs_of_equal_length_between_which_the_grammar_decides(tell: Callable[..., Subject]) -> None:
    subject = tell(n_layer=1)
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    pairs = of_fables(subject)
    assert set(pairs.kinds) == {"name", "pronoun", "number"}
    for i, last in enumerate(pairs.last):
        assert 0 < last < LENGTH
        clean, corrupted = pairs.clean[i, : last + 1], pairs.corrupted[i, : last + 1]
        assert np.any(clean != corrupted)
        assert np.array_equal(clean != corrupted, (pairs.classes["changed"] | (pairs.classes["last"] & (pairs.clean != pairs.corrupted)))[i, : last + 1])
        right, wrong = (tokenizer.decode([answer]).strip() for answer in (pairs.right[i], pairs.wrong[i]))
        if pairs.kinds[i] == "number":
            assert any(word.startswith(right) for word in ("was", "were", "is", "are"))
        else:
            assert any(word.startswith(right) and other.startswith(wrong) for word, other in (("he", "she"), ("she", "he")))
    assert all(":" in why and count > 0 for why, count in pairs.left_out.items())


def test_the_grammar_rejects_what_changes_too_little() -> None:
    """Another name of the same gender leaves the answer as it was."""
    story = "Once there was a small wombat called {} who wanted to teach the parrot good manners. Before long, "
    clean = story.format("Hector")
    assert _decided(_Texts("name", clean, story.format("Amina"), "he", "she", " "))
    assert not _decided(_Texts("name", clean, story.format("Conrad"), "he", "she", " "))


def test_a_model_that_tells_nothing_apart_is_not_patched(make: Callable[..., Subject], tell: Callable[..., Subject]) -> None:
    silent = make()
    for block in silent.model.blocks:
        for module in (block.attention.out, block.mlp.down):
            nn.init.zeros_(module.weight)
    nn.init.zeros_(silent.model.embed.weight)
    result = analyse(silent)
    assert isinstance(result, Result)
    assert set(result.metrics) == {f"{kind}.{name}" for kind in ("step", "start") for name in ("apart", "both")}
    assert not result.figures
    assert all("Tested, not found." in claim.filled(result.metrics) for claim in result.claims)
    told = analyse(tell(n_layer=1, positions="learned", block_size=40))  # shorter than the beginnings are
    assert isinstance(told, Result)
    assert {row["why"].partition(":")[0] for row in told.tables["left_out"]} <= {"name", "pronoun", "number"}


def test_every_share_has_its_interval_and_nulls(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picollm.analysis.patching._pairs", lambda _: copied())
    result = analyse(copier(make, 0, 1))
    assert isinstance(result, Result)
    for name, found in result.metrics.items():
        assert {"value", "n", "low", "high", "untrained", "untrained_low"} <= set(found), name
        assert ("unrelated" in found) == (not name.endswith((".apart", ".both")))
    found = result.metrics["copy.highest_head"]
    assert (found["layer"], found["head"]) == (0, 1)
    assert found["low"] > 0.95 > found["unrelated"]
    assert result.metrics["copy.both"]["value"] == 1
    said = [claim.filled(result.metrics) for claim in result.claims]
    assert "head 1 of layer 0 brings back most" in said[1]
    assert said[2].startswith("copy: after layer 0 the last token holds")
    assert len(result.tables[""]) == 3 * 3 + 4


def test_answers_the_other_way_round_are_told_so(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = copier(make, 0, 1)
    monkeypatch.setattr("picollm.analysis.patching._pairs", lambda _: copied())
    with torch.no_grad():
        subject.model.head.weight.neg_()  # what was copied is the last thing it says
    result = analyse(subject)
    assert isinstance(result, Result)
    assert result.metrics["copy.apart"]["high"] < 0
    assert "against the rule" in result.claims[0].text
    assert result.metrics["copy.highest_head"]["value"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("data", "block", "reason"),
    [
        ("numeric", {"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
        ("numeric", {"attention": "convolution", "short_conv": 3}, "a convolution has no heads to patch"),
        ("parity", {}, "neither fables nor arithmetic sequences"),
        ("text", {}, "its data are no fables, of which alone the grammar is known"),
    ],
)
def test_skips(make: Callable[..., Subject], data: str, block: dict[str, object], reason: str) -> None:
    assert analyse(make(data, **block)) == Skip(reason)
