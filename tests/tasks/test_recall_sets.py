"""Recall: every query has one answer that was read before it; slots follow zoology's law; controls agree with a sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.tasks import recall
from picollm.tasks._rows import load
from picollm.tasks.recall.sampling import POWER, draw
from picollm.tasks.recall.sets import controls

COUNTS = {"train": 20, "validation": 5, "test": 5, "long": 40}


def config(**changes):
    return recall.Config(kind="recall", **{**COUNTS, **changes})


def check(ids, targets, made, pairs):
    """All rules of a sequence, read off its ids alone."""
    filler = made.keys + made.values
    for row, wanted, n in zip(ids.tolist(), targets.tolist(), pairs.tolist(), strict=True):
        keys, values = row[0 : 2 * n : 2], row[1 : 2 * n : 2]
        assert len(set(keys)) == len(set(values)) == n
        assert all(0 <= key < made.keys for key in keys)
        assert all(made.keys <= value < filler for value in values)
        answers = dict(zip(keys, values, strict=True))
        queries = [(t, row[t]) for t in range(2 * n, len(row)) if row[t] != filler]
        assert sorted(key for _, key in queries) == sorted(keys)  # each once, and none that was not there
        assert all(t % 2 == 0 for t, _ in queries)
        assert wanted == [answers[row[t]] if t in dict(queries) else filler for t in range(len(row))]


@given(
    seed=st.integers(0, 2**32),
    keys=st.integers(1, 12),
    values=st.integers(1, 12),
    extra=st.integers(0, 30),
    power=st.sampled_from([POWER, 1.0]),
    data=st.data(),
)
def test_every_query_is_answerable_and_nothing_else_is_asked(seed, keys, values, extra, power, data):
    most = min(keys, values)
    made = config(keys=keys, values=values, pairs=[1, most], length=4 * most + extra, long_lengths=[], more_pairs=[])
    pairs = np.array(data.draw(st.lists(st.integers(1, most), min_size=1, max_size=8)))
    ids, targets = draw(np.random.Generator(np.random.PCG64(seed)), made, pairs, made.length, power)
    check(ids, targets, made, pairs)


def test_stored_sets_follow_the_rules(tmp_path):
    made = config(more_pairs=[32, 64])
    recall.generate(made, tmp_path)
    lengths = {"train": 64, "test": 64, "length64": 64, "length1024": 1024, "pairs32": 128, "pairs64": 256}
    for split, length in lengths.items():
        values, targets, pairs = (load(tmp_path, split, name) for name in ("values", "targets", "pairs"))
        assert values.shape[1] == length
        check(values, targets, made, pairs)
        fewest, most = (int(split[5:]),) * 2 if split.startswith("pairs") else made.pairs
        assert ((pairs >= fewest) & (pairs <= most)).all()


def test_more_pairs_than_fit_into_the_length_are_packed_and_fewer_are_not():
    made = config(pairs=[2, 4], more_pairs=[8, 16, 32])
    assert {split: length for split, length in made.row_lengths().items() if split.startswith("pairs")} == {"pairs8": 64, "pairs16": 64, "pairs32": 128}


def test_all_numbers_of_pairs_keys_and_values_are_equally_likely():
    made = config()
    ids, targets = recall.stream(made, 0, 20_000)(0)
    pairs = (targets != made.pad).sum(1)
    assert np.bincount(pairs)[4:] / len(pairs) == pytest.approx([1 / 13] * 13, abs=0.01)
    assert np.bincount(ids[:, 0], minlength=64) / len(ids) == pytest.approx([1 / 64] * 64, abs=0.005)
    assert np.bincount(ids[:, 1] - 64, minlength=64) / len(ids) == pytest.approx([1 / 64] * 64, abs=0.005)


@pytest.mark.parametrize("power", [POWER, 1.0])
def test_slots_are_as_likely_as_in_drawing_them_one_by_one(power):
    """Against numpy's own drawing without replacement, which zoology uses."""
    made = config(keys=3, values=3, pairs=[3, 3], length=22, long_lengths=[], more_pairs=[])
    n = 20_000
    ids, _ = draw(np.random.Generator(np.random.PCG64(0)), made, np.full(n, 3), 22, power)
    found = np.stack([np.argmax(ids[:, 6::2] == ids[:, [2 * pair]], 1) for pair in range(3)], 1)  # the slot of each pair
    rng = np.random.Generator(np.random.PCG64(1))
    p = np.arange(1, 9) ** (power - 1.0)
    wanted = np.array([rng.choice(8, 3, replace=False, p=p / p.sum(), shuffle=False) for _ in range(n)])
    for pair in range(3):
        shares = [np.bincount(x[:, pair], minlength=8) / n for x in (found, wanted)]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert np.bincount(found[:, 0], minlength=8) / n == pytest.approx(p / p.sum(), abs=0.02)


def test_controls_agree_with_a_sample():
    made = config()
    _, targets = recall.stream(made, 0, 50_000)(0)
    n = (targets != made.pad).sum(1)
    found = controls(made, *made.pairs)
    assert found["uniform"] == {"loss": pytest.approx(np.log(64)), "accuracy": 1 / 64}
    assert found["uniform over those that occurred"]["loss"] == pytest.approx((n * np.log(n)).sum() / n.sum(), rel=0.005)
    assert found["uniform over those that occurred"]["accuracy"] == pytest.approx(len(n) / n.sum(), rel=0.01)
    assert controls(made, 8, 8)["uniform over those that occurred"] == {"loss": pytest.approx(np.log(8)), "accuracy": 1 / 8}
