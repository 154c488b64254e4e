"""The interval over seeds, against scipy's and against what an interval is for."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from picollm.statistics import summary

numbers = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)


@given(numbers, st.floats(0.5, 0.99))
def test_it_is_the_t_interval_of_scipy(values, level):
    result = summary(values, level)
    scale = max(1.0, max(map(abs, values)))
    low, high = scipy.stats.t.interval(level, len(values) - 1, np.mean(values), scipy.stats.sem(values)) if np.ptp(values) else (values[0], values[0])
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
