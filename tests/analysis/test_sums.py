"""Where digits stand and are asked for, in every way that sums are written; pairs that differ in one carry and nothing else."""

from itertools import product

import numpy as np
import pytest

from picollm.analysis import _sums
from picollm.core.config import parse
from picollm.tasks.addition.carries import add, longest_chain
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows

WAYS = [
    {"order": order, "padding": padding, "tokens_per_pass": ahead}
    for order, padding, ahead in product(("reversed", "plain"), ("none", "longest", "fixed"), (1, 2, "all"))
    if ahead != "all" or (order == "reversed" and padding != "none")
]


def config(**options: object) -> Config:
    few = {"kind": "addition", "train": 4, "validation": 4, "test": 4, "long": 4}
    return parse(Config, {**few, "digits": [2, 4], **options}, "tasks.addition")


@pytest.mark.parametrize("base", [2, 10, 16])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_digit_is_asked_for_where_the_task_has_it_as_a_target(way: dict[str, object], base: int) -> None:
    task = config(base=base, **way)
    found = _sums.drawn(task, 200, 1)
    N, _, W = found.digits.shape
    ids, targets = rows(task, found.digits, np.full((N, 2), W))
    assert np.array_equal(ids, found.ids)
    row, column = np.nonzero(found.asks >= 0)
    assert np.array_equal(targets[row, found.asks[row, column]], found.answer[row, column])
    scored = (targets != task.pad).sum(1) - (task.tokens_per_pass != "all")  # all but the end
    assert np.array_equal((found.asks >= 0).sum(1), scored)
    assert np.array_equal(found.answer, add(found.digits, base, W + 1))
    assert np.array_equal((found.digits.sum(1) + found.carries[:, :W]) % base, found.answer[:, :W])
    assert np.array_equal(found.carries[:, W], found.answer[:, W])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_columns_are_those_of_the_digits(way: dict[str, object]) -> None:
    found = _sums.drawn(config(**way), 50, 2)
    W, columns = found.digits.shape[2], found.columns
    for k in range(2):
        at = found.operand(k, np.arange(W))
        assert np.array_equal(found.ids[:, at], found.digits[:, k])
        assert np.array_equal(columns[:, at], np.tile(np.arange(W), (50, 1)))
    assert np.array_equal(columns >= 0, found.ids < 10)
    after = np.arange(columns.shape[1]) > 2 * (W + 1)
    row, place = np.nonzero((columns >= 0) & after)
    assert np.array_equal(found.ids[row, place], found.answer[row, columns[row, place]])


@pytest.mark.parametrize("base", [2, 3, 10])
@pytest.mark.parametrize("passing", [0, 1])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_pair_differs_in_one_carry_alone(way: dict[str, object], passing: int, base: int) -> None:
    found = _sums.pairs(config(base=base, **way), 60, passing, 3)
    assert found is not None
    every = np.arange(len(found.column))
    one, other, twin = found.one, found.other, found.twin
    assert np.array_equal(one.carries[every, found.column] + other.carries[every, found.column], np.ones(len(every)))
    assert 0.3 < one.carries[every, found.column].mean() < 0.7
    differs = one.carries != other.carries
    assert np.array_equal(differs.sum(1), np.full(len(every), 1 + passing))
    assert np.array_equal(found.deciding, found.column - 1 - passing)
    digits = (one.digits != other.digits).any(1)
    assert np.array_equal(digits.sum(1), np.ones(len(every)))
    assert digits[every, found.deciding].all()
    assert np.array_equal(one.answer[every, found.deciding], other.answer[every, found.deciding])
    assert not (found.digit(one) == found.digit(other)).any()
    assert np.array_equal(one.answer, twin.answer)
    assert np.array_equal(one.carries, twin.carries)
    assert np.array_equal(one.asks, other.asks)
    assert set(found.column) == set(np.unique(np.linspace(passing + 1, 3, 3).round()))
    if not passing:  # and what is read where the digit is asked for is the same
        assert np.array_equal(one.ids[every, found.ask], other.ids[every, found.ask])


def test_there_are_no_pairs_without_a_column_below() -> None:
    assert _sums.pairs(config(digits=[1, 1]), 5, 0, 0) is None
    assert _sums.pairs(config(digits=[1, 2]), 5, 1, 0) is None


def test_sums_are_sorted_by_their_longest_chain() -> None:
    found, chain = _sums.by_chain(config(), 30, 4)
    assert np.bincount(chain).tolist() == [30] * 5
    assert np.array_equal(longest_chain(found.digits, 10), chain)


def test_the_originals_sum_in_the_tasks_own_writing() -> None:
    assert _sums.original(config()).ids[0, :11].tolist() == [10, 1, 0, 1, 0, 10, 2, 0, 0, 1, 10]
    assert _sums.original(config(padding="longest")).answer.tolist() == [[3, 0, 1, 1, 0]]
    assert _sums.original(config(digits=[1, 3])).digits.tolist() == [[[9, 9, 9], [1, 0, 0]]]
    assert _sums.original(config(padding="none", digits=[4, 4])).digits[0, 0].tolist() == [9, 9, 9, 9]
