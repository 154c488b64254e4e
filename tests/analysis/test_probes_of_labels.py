"""Probes read a planted label and no random one; labels are what the task says."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._target import Target
from picollm.analysis._targets import readable
from picollm.analysis._targets_addition import carries
from picollm.analysis.probes import _fitted, analyse, judged
from picollm.tokenizers._shared import from_json

FEW = {"untrained": 2}


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


def test_a_planted_label_is_read_and_a_random_one_is_not() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400)
    x = rng.normal(size=(400, 20))
    x[:, :3] += 4 * np.eye(3)[label]
    other = rng.integers(0, 3, 400)
    right = judged(x, [(label[:200], label[200:]), (other[:200], other[200:])])
    assert right[0].mean() > 0.95
    assert right[1].mean() == pytest.approx(1 / 3, abs=0.08)


def test_a_class_that_was_never_fitted_is_wrong() -> None:
    x = np.random.default_rng(1).normal(size=(60, 4))
    held = np.repeat([0, 1, 9], 10)
    assert not judged(x, [(np.arange(30) % 2, held)])[0, 20:].any()


def test_control_labels_hang_on_the_token_alone() -> None:
    rng = np.random.default_rng(2)
    token, label = rng.integers(0, 60, 1000), rng.choice([0, 1, 1, 1], 1000)
    target = Target(np.arange(1000), np.zeros(1000, int), label, token)
    first, second = target.control(0), target.control(1)
    assert all(len(set(first[token == kind])) == 1 for kind in range(60))
    assert np.any(first != second)
    assert np.array_equal(first, target.control(0))
    assert np.mean([target.control(draw).mean() for draw in range(50)]) == pytest.approx(0.75, abs=0.03)  # as frequent as the label


def test_no_sequence_is_fitted_on_and_judged() -> None:
    row = np.array([0, 0, 3, 3, 3, 7, 9])
    target = Target(row, row, row, row)
    assert not set(row[_fitted(target)]) & set(row[~_fitted(target)])


def test_a_token_that_is_all_there_is_to_read_is_not_selective(make: Callable[..., Subject]) -> None:
    """Embeddings that are one-hot let a probe learn any labels of tokens by heart."""
    subject = make(options=FEW, n_layer=1, d_model=128)
    with torch.no_grad():
        subject.model.embed.weight[:] = torch.eye(128)
    metrics = analysed(subject).metrics
    assert metrics["family.accuracy.embed"]["control"] > 0.9
    assert metrics["family.selectivity.embed"]["value"] < 0
    assert metrics["family.selectivity.embed"]["value"] == pytest.approx(
        metrics["family.accuracy.embed"]["value"] - metrics["family.accuracy.embed"]["control"], abs=1e-5
    )


def test_numbers(make: Callable[..., Subject]) -> None:
    found = readable(make())
    assert not isinstance(found, Skip)
    assert set(found.targets) == {"family", "next", "step"}
    following = found.targets["next"]
    assert np.array_equal(found.ids[following.row, following.place + 1], following.label)
    step = found.targets["step"]
    assert np.array_equal(found.ids[step.row, step.place] - found.ids[step.row, step.place - 1], step.label)
    assert set(found.targets["family"].label) == set(range(5))
    assert "step" not in getattr(readable(make("modular")), "targets", {"step": 0})  # more than 32 classes


def test_parity(make: Callable[..., Subject]) -> None:
    found = readable(make("parity", {"length": 5}))
    assert not isinstance(found, Skip)
    target = found.targets["parity"]
    expected = [found.ids[row, : place + 1].sum() % 2 for row, place in zip(target.row, target.place, strict=True)]
    assert target.label.tolist() == expected


def test_carries_by_hand() -> None:
    carry, sums = carries(np.array([[[9, 9, 1, 0], [1, 0, 2, 0]]]), 10)  # 199 + 201
    assert carry.tolist() == [[0, 1, 1, 0, 0]]
    assert sums.tolist() == [[10, 9, 3, 0]]


def test_addition(make: Callable[..., Subject]) -> None:
    subject = make("addition")
    found = readable(subject)
    assert not isinstance(found, Skip)
    answers = {
        row.tobytes(): asked for row, asked in zip(*(np.asarray(subject.tokens.split(name), np.int64) for name in ("test", "test.targets")), strict=True)
    }
    sums, carried = found.targets["digit_sum"], found.targets["carry_in"]
    total = {key: int(value) for key, value in zip(zip(sums.row, sums.place, strict=True), sums.label, strict=True)}
    checked = 0
    for row, place, carry in zip(carried.row, carried.place, carried.label, strict=True):
        if (row, place) in total:
            assert (total[row, place] + carry) % 10 == answers[found.ids[row].tobytes()][place]
            checked += 1
    assert checked > 300
    assert analysed(make("addition", FEW, n_layer=1)).metrics["carry_in.accuracy.embed"]["n"] > 50


def test_fables(make: Callable[..., Subject]) -> None:
    subject = make("fables", FEW, n_layer=1)
    found = readable(subject)
    assert not isinstance(found, Skip)
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    gender = found.targets["gender"]
    labels: dict[str, set[int]] = {}
    inside = gender.place < found.ids.shape[1] - 5
    for row, place, label in zip(gender.row[inside], gender.place[inside], gender.label[inside], strict=True):
        word = re.findall("[a-z]+", tokenizer.decode(found.ids[row, place + 1 : place + 5]).lower())[0]  # what comes next
        labels.setdefault(word, set()).add(int(label))
    assert labels["he"] == labels["his"] != labels["she"] == labels["her"]
    assert len(labels["he"]) == len(labels["she"]) == 1
    known = found.targets["known"]
    for row, place in list(zip(known.row, known.place, strict=True))[:20]:
        assert tokenizer.decode([found.ids[row, place]]).strip().isalpha()
    assert set(known.label) == {0, 1}
    assert analysed(subject).metrics["known.highest"]["depth"] in (0, 1)


@pytest.mark.parametrize(
    ("data", "options", "block", "reason"),
    [
        ("text", {}, {}, "the text has no annotations to read"),
        ("recall", {}, {}, "nothing is annotated in sequences of recall"),
        ("numeric", {"length": 4}, {}, "reads what follows 3 terms and more, interpret.length is 4"),
        ("numeric", {}, {"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
    ],
)
def test_skips(make: Callable[..., Subject], data: str, options: dict[str, object], block: dict[str, object], reason: str) -> None:
    assert analyse(make(data, options, **block)) == Skip(reason)


def test_too_few_places_are_a_skip(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picollm.analysis.probes.FEWEST", 5000)
    assert analyse(make("parity")) == Skip("needs 5000 places to fit a probe on and as many to judge it by, in labels of two classes or more")
