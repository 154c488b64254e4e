"""The intervals over seeds, against scipy's and against what an interval is for."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.statistics import proportion, summary

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)


@given(numbers, st.floats(0.5, 0.99))
def test_it_is_the_t_interval_of_scipy(values, level):
    result = summary(values, level)
    scale = max(1.0, max(map(abs, values)))
    error = scipy.stats.sem(values)  # 0 also where the squares of a spread are too small for a float
    low, high = scipy.stats.t.interval(level, len(values) - 1, np.mean(values), error) if error > 0 else (np.mean(values), np.mean(values))
    assert result["mean"] == pytest.approx(np.mean(values), abs=1e-9 * scale)
    assert (result["low"], result["high"]) == pytest.approx((low, high), abs=1e-6 * scale)
    assert result["n"] == len(values)


def test_three_seeds_by_hand():
    result = summary([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # the t table: 2 degrees of freedom, 97.5 %
    assert result == pytest.approx({"mean": 2.0, "n": 3, "low": 2 - half, "high": 2 + half}, abs=1e-6)


def test_one_value_has_no_interval():
    assert summary([0.5]) == {"mean": 0.5, "n": 1}


def test_nineteen_of_twenty_intervals_hold_the_truth():
    generator = np.random.Generator(np.random.PCG64([0]))
    results = [summary(generator.normal(7.0, 2.0, 5)) for _ in range(2000)]
    assert np.mean([result["low"] <= 7.0 <= result["high"] for result in results]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),  # Clopper & Pearson's own table and its closed forms: (a / 2) ** (1 / n) where all succeed
    [(5, 5, 0.025**0.2, 1), (0, 5, 0, 1 - 0.025**0.2), (3, 3, 0.2924, 1), (1, 2, 0.0126, 0.9874), (8, 10, 0.4439, 0.9748), (0, 10, 0, 0.3085)],
)
def test_a_success_rate_has_the_exact_interval(successes, n, low, high):
    result = proportion(successes, n)
    assert (result["successes"], result["n"]) == (successes, n)
    assert (result["low"], result["high"]) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.99))
def test_it_is_the_exact_interval_of_scipy(counts, level):
    result = proportion(*counts, level)
    expected = scipy.stats.binomtest(*counts).proportion_ci(level, "exact")
    assert (result["low"], result["high"]) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= result["low"] <= counts[0] / counts[1] <= result["high"] <= 1


@given(st.integers(1, 8), st.floats(0.01, 0.99))
def test_it_holds_the_true_rate_at_least_as_often_as_it_says(n, rate):
    held = [k for k in range(n + 1) if (found := proportion(k, n))["low"] <= rate <= found["high"]]
    assert scipy.stats.binom.pmf(held, n, rate).sum() >= 0.95 - 1e-9
