"""The exact predictor and its expected loss: published figures, brute force, Monte Carlo."""

from functools import lru_cache
from itertools import product

import numpy as np
import pytest

from picollm.tasks._rows import cut, term_weights
from picollm.tasks.numeric.floors import expected
from picollm.tasks.numeric.ngrams import controls
from picollm.tasks.numeric.predictor import log_prefixes, sequence_losses
from picollm.tasks.numeric.sampling import draw
from picollm.tasks.numeric.spec import FAMILIES, WALK, Spec, specification
from picollm.tasks.numeric.values import clamp, wrap
from picollm.tasks.numeric.walk import Walk


@lru_cache
def average(name, low, high, prior="train", holdout=0.15):
    spec = specification(name, holdout, high)
    return expected(spec, prior).average(term_weights(low, high))


@pytest.mark.parametrize(
    ("case", "loss", "accuracy", "families"),
    [
        (("classic", 8, 32), 0.3502, 0.829, [0.0585, 0.1321, 0.0902, 0.0348, 1.4354]),
        (("classic", 48, 48), 0.3067, 0.842, [0.0236, 0.0534, 0.0365, 0.0141, 1.4057]),
        (("modular", 20, 20, "full"), 0.5143, 0.798, [0.0847, 0.3384, 0.3381, 0.3392, 1.4710]),
    ],
)
def test_floors_of_the_task(case, loss, accuracy, families):
    floor = average(*case)
    assert round(floor["loss"], 4) == loss
    assert round(floor["accuracy"], 3) == accuracy
    assert [round(floor["families"][name]["loss"], 4) for name in FAMILIES] == families


def test_knowing_what_is_held_out_lowers_the_floor():
    assert average("modular", 20, 20, "train")["loss"] == pytest.approx(0.5090, abs=0.001)
    assert average("modular", 20, 20, "train", 0.0) == average("modular", 20, 20, "full", 0.0)


def test_controls_of_classic():
    result = controls(specification("classic", 0.0, 32), term_weights(8, 32))
    assert {name: round(entry["loss"], 4) for name, entry in result.items()} == {
        "uniform": 4.8442,
        "unigram": 3.7044,
        "bigram": 1.1696,
        "3-gram": 0.6330,
        "4-gram": 0.4190,
        "5-gram": 0.3750,
    }


def test_controls_agree_with_counting_in_a_sample():
    """The plug-in entropy of the next term given the last, over 200,000 sequences."""
    spec = specification("classic", 0.0, 32)
    values, lengths, _ = sample(spec, 200_000, 8, 32)
    scored = np.arange(1, 32) < lengths[:, None]
    joint = np.bincount(values[:, :-1][scored] * 127 + values[:, 1:][scored], minlength=127 * 127).reshape(127, 127) / scored.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -np.nansum(joint * np.log(joint / joint.sum(1, keepdims=True)))
    result = controls(spec, term_weights(8, 32))["bigram"]
    assert result["loss"] == pytest.approx(loss, abs=0.005)
    assert result["accuracy"] == pytest.approx(joint.max(1).sum(), abs=0.003)


@pytest.mark.parametrize("name", ["classic", "modular"])
def test_seeing_more_terms_never_hurts_and_the_floor_is_below_all(name):
    spec = specification(name, 0.5, 12)
    losses = [entry["loss"] for entry in controls(spec, term_weights(8, 12)).values()]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] >= expected(spec).average(term_weights(8, 12))["loss"]


def test_the_short_and_the_long_table_give_the_same_floor():
    short, long = expected(specification("classic", 0.0, 32)), expected(specification("classic", 0.0, 140))
    assert long.loss[:, 1:32] == pytest.approx(short.loss[:, 1:])
    assert long.accuracy[:, 1:32] == pytest.approx(short.accuracy[:, 1:])


def test_long_floors_stay_finite():
    floors = expected(specification("modular", 0.15, 700))  # the walk's probability of imitating a count underflows
    assert np.isfinite(floors.loss[:, 1:]).all()
    assert floors.loss[WALK, -1] == pytest.approx(np.log(4))


# --- brute force ------------------------------------------------------------------------------------------------------

LENGTH = 5


def tiny(fold) -> Spec:
    """Few cells that share prefixes with each other and with the walk, two of them held out."""
    rows = {
        0: [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]],
        1: [[0, 1, 2, 3, 4], [0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [126, 1, 3, 5, 7]],
        2: [[1, 2, 4, 8, 16], [2, 4, 8, 16, 32]],
        3: [[0, 1, 0, 1, 0], [5, 9, 5, 9, 5], [1, 2, 1, 2, 1]],
    }
    table = np.array([row for family in rows.values() for row in family], np.int16)
    family = np.repeat(list(rows), [len(entry) for entry in rows.values()])
    held = np.zeros(len(table), bool)
    held[[4, 9]] = True
    return Spec("classic", 0.2, table, family, held, Walk(np.array([0, 1, 125]), fold))


def enumerate_all(spec, prior):
    """{sequence: (5,) probabilities of it in each family}, by spelling out every one."""
    result = {}
    for cell, weight in enumerate(spec.prior(prior)):
        if weight:
            result.setdefault(tuple(spec.table[cell].tolist()), np.zeros(5))[spec.family[cell]] += weight
    for start in spec.walk.starts:
        for steps in product([-1, 0, 1, 2], repeat=LENGTH - 1):
            values = [int(start)]
            for step in steps:
                values.append(int(spec.walk.fold(np.array(values[-1] + step))))
            result.setdefault(tuple(values), np.zeros(5))[WALK] += 1 / len(spec.walk.starts) / 4 ** (LENGTH - 1)
    return result


@pytest.mark.parametrize("prior", ["train", "full"])
@pytest.mark.parametrize("fold", [clamp, wrap])
def test_floor_equals_brute_force(fold, prior):
    spec = tiny(fold)
    sequences = enumerate_all(spec, prior)
    prefixes = {}
    for sequence, p in sequences.items():
        for t in range(1, LENGTH + 1):
            prefixes[sequence[:t]] = prefixes.get(sequence[:t], 0) + p
    loss, accuracy = np.zeros((2, 5, LENGTH))
    for sequence, p in sequences.items():
        for t in range(1, LENGTH):
            loss[:, t] += p * np.log(prefixes[sequence[:t]].sum() / prefixes[sequence[: t + 1]].sum())
    for prefix in prefixes:
        following = {y: prefixes[(*prefix, y)] for y in range(127) if (*prefix, y) in prefixes}
        best = max((p.sum() for p in following.values()), default=0)
        guesses = [y for y, p in following.items() if p.sum() > best * (1 - 1e-9)]
        for y in guesses:
            accuracy[:, len(prefix)] += following[y] / len(guesses)
    floors = expected(spec, prior)
    assert floors.loss[:, 1:] == pytest.approx(loss[:, 1:])
    assert floors.accuracy[:, 1:] == pytest.approx(accuracy[:, 1:])

    values = np.array(list(sequences))
    losses = sequence_losses(spec, values, np.full(len(values), LENGTH), prior)
    for sequence, found in zip(sequences, losses, strict=True):
        chain = [np.log(prefixes[sequence[:t]].sum() / prefixes[sequence[: t + 1]].sum()) for t in range(1, LENGTH)]
        assert found[1:] == pytest.approx(chain)


# --- the predictor on given sequences -----------------------------------------------------------------------------------


def sample(spec, n, low, high):
    rng = np.random.Generator(np.random.PCG64([7, n]))
    family = rng.integers(5, size=n)
    lengths = rng.integers(low, high + 1, size=n)
    return draw(rng, spec, family, high), lengths, family


@pytest.mark.parametrize(("name", "prior"), [("classic", "train"), ("modular", "train"), ("modular", "full")])
def test_sampled_losses_agree_with_the_expected_floor(name, prior):
    spec = specification(name, 0.15 if prior == "train" else 0.0, 32)
    values, lengths, family = sample(spec, 60_000, 8, 32)
    losses = sequence_losses(spec, values, lengths, prior)
    floors = expected(spec, prior)
    for f in range(5):
        assert np.nanmean(losses[family == f]) == pytest.approx(floors.average(term_weights(8, 32))["families"][FAMILIES[f]]["loss"], abs=0.004)
        assert losses[family == f, 1:8].mean(0) == pytest.approx(floors.loss[f, 1:8], abs=0.04)


def test_losses_telescope_to_the_probability_of_the_sequence():
    spec = specification("classic", 0.0, 32)
    values, lengths, _ = sample(spec, 200, 32, 32)
    mixture = np.logaddexp.reduce(log_prefixes(spec, values))
    losses = sequence_losses(spec, values, lengths)
    assert np.nansum(losses, 1) == pytest.approx(mixture[:, 0] - mixture[:, -1])


def test_nothing_is_scored_at_the_first_term_and_beyond_the_length_and_padding_is_never_read():
    spec = specification("modular", 0.15, 32)
    values, lengths, _ = sample(spec, 500, 8, 32)
    losses = sequence_losses(spec, values, lengths)
    scored = (np.arange(32) >= 1) & (np.arange(32) < lengths[:, None])
    assert (np.isnan(losses) == ~scored).all()
    for filler in (-1, 127):
        assert np.array_equal(sequence_losses(spec, cut(values.copy(), lengths, filler), lengths), losses, equal_nan=True)


def test_a_held_out_cell_is_impossible_for_who_knows_and_a_cell_like_others_for_who_does_not():
    spec = specification("modular", 0.15, 32)
    values = spec.table[spec.members("heldout")[::60]]
    lengths = np.full(len(values), 32)
    imitable = (spec.walk.kernel[values[:, :-1], values[:, 1:]] > 0).all(1)  # steps of 2: the walk may take the same path
    assert 0 < imitable.sum() < 5
    assert (np.isposinf(np.nansum(sequence_losses(spec, values, lengths, "train"), 1)) == ~imitable).all()
    full = sequence_losses(spec, values, lengths, "full")
    assert np.isfinite(full[:, 1:]).all()
    assert full[:, 1:].sum(1).mean() == pytest.approx(19 * 0.3386, abs=0.3)
