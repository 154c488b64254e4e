"""What intervals do at their edges, and from run to run; how often they are right is in test_coverage.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis import _bootstrap
from picollm.analysis._ranks import area, correlation, ranks
from picollm.core import statistics


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_an_interval_holds_its_value_and_is_the_same_again(n: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=n)
    found = _bootstrap.ratio(x)
    assert found["low"] <= x.mean() <= found["high"]
    assert found == _bootstrap.ratio(x)


def test_a_ratio_is_the_statistic_that_it_is() -> None:
    rng = np.random.default_rng(0)
    top, bottom = rng.random(30), rng.integers(1, 5, 30).astype(float)
    expected = _bootstrap.statistic(lambda rows: float(top[rows].sum() / bottom[rows].sum()), 30)
    assert _bootstrap.ratio(top, bottom) == pytest.approx(expected)


def test_bca_follows_the_longer_tail() -> None:
    x = np.random.default_rng(1).exponential(size=40)
    found = _bootstrap.ratio(x)
    assert found["high"] - x.mean() > 1.1 * (x.mean() - found["low"])


def test_rows_that_do_not_differ() -> None:
    assert _bootstrap.ratio(np.ones(9)) == {"low": 1, "high": 1}
    assert _bootstrap.ratio(np.zeros(9), np.zeros(9)) == {"low": 0, "high": 0}


def test_all_right_is_not_certain() -> None:
    exact = statistics.proportion(12, 12)
    assert _bootstrap.share(np.full(12, 3.0), np.full(12, 3.0)) == {"low": exact["low"], "high": 1}
    assert _bootstrap.share(np.zeros(12))["high"] == pytest.approx(1 - exact["low"])
    some = np.arange(12.0) % 2
    assert _bootstrap.share(some) == _bootstrap.ratio(some)


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    """With as many groups as rows."""
    x = np.random.default_rng(2).normal(size=20)
    expected = statistics.summary(list(x))
    found = _bootstrap.jackknife(lambda rows: float(x[rows].mean()), 20)
    assert found == pytest.approx({"low": expected["low"], "high": expected["high"]})


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_ranks_and_what_is_made_of_them(values: list[int], seed: int) -> None:
    x = np.array(values, float)
    assert np.allclose(ranks(x), [(x < value).sum() + ((x == value).sum() + 1) / 2 for value in x])
    positive = np.random.default_rng(seed).random(len(x)) < 0.5
    pairs = [(a > b) + (a == b) / 2 for a in x[positive] for b in x[~positive]]
    assert area(x[:, None], positive)[0] == pytest.approx(np.mean(pairs) if pairs else 0.5)
    assert correlation(x, -x) == pytest.approx(-1 if len(set(values)) > 1 else 0)
