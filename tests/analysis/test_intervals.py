"""Against the formulas of a textbook, and on what has no spread."""

import numpy as np
import pytest

from picollm.analysis._intervals import of_mean, of_ratio


def test_the_t_interval_by_hand() -> None:
    found = of_mean(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446 * (5 / 3) ** 0.5 / 2  # the t quantile of 3 degrees of freedom
    assert (found["low"], found["high"]) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))
    assert of_mean(np.array([1.0])) == {}


def test_a_ratio_of_equal_bottoms_is_a_mean() -> None:
    top = np.array([1.0, 5.0, 2.0])
    found, mean = of_ratio(top, np.full(3, 2.0)), of_mean(top / 2)
    assert found == pytest.approx(mean)
    assert of_ratio(top, np.zeros(3)) == {}


def test_ratios_are_covered_about_as_often_as_they_should() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        bottom = rng.uniform(0.5, 2, 40)
        found = of_ratio(bottom * 3 + rng.normal(size=40), bottom)
        hits += found["low"] <= 3 <= found["high"]
    assert 0.91 < hits / 400 < 0.985


def test_rows_without_a_bottom_count_by_their_top_alone() -> None:
    found = of_ratio(np.array([1.0, 0.0, 3.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert found["low"] < 2 < found["high"]
