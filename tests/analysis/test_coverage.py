"""Every kind of interval that a figure may carry holds the truth in 93 to 97 % of simulated samples; Clopper & Pearson's in 95 % or more.

The fast version simulates few samples, whose own chance is about one per cent; `slow` thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import ndtr

from picollm.analysis import _bootstrap, _intervals
from picollm.analysis._bootstrap import Interval
from picollm.analysis._cka import alike, gram
from picollm.analysis._neurons import difference, eta_squared
from picollm.analysis._ranks import area, correlation
from picollm.core import statistics

N = 64  # sequences that most analyses look at


@dataclass(frozen=True)
class Case:
    truth: float
    interval: Callable[[np.random.Generator], Interval]  # of one simulated sample
    fast: int = 400  # samples; 0: these take too long
    slow: int = 4000


def t_of_normal(rng: np.random.Generator) -> Interval:
    return statistics.summary(list(rng.normal(size=12)))


def bootstrap_of_a_skewed_mean(rng: np.random.Generator) -> Interval:
    return _bootstrap.ratio(rng.exponential(size=N))


def bootstrap_of_a_share_of_tokens(rng: np.random.Generator) -> Interval:
    """Right answers among a sequence's few tokens, which are right or wrong together."""
    tokens = rng.integers(1, 9, size=N)
    return _bootstrap.ratio(rng.binomial(tokens, rng.beta(3, 2, size=N)), tokens)


def delta_of_a_share_of_tokens(rng: np.random.Generator) -> Interval:
    tokens = rng.integers(1, 9, size=N)
    return _intervals.of_ratio(rng.binomial(tokens, rng.beta(3, 2, size=N)).astype(float), tokens.astype(float))


def bootstrap_of_a_correlation(rng: np.random.Generator) -> Interval:
    x = rng.normal(size=N)
    y = 0.6 * x + 0.8 * rng.normal(size=N)
    return _bootstrap.statistic(lambda rows: correlation(x[rows], y[rows]), N)


def jackknife_of_a_correlation(rng: np.random.Generator) -> Interval:
    x = rng.normal(size=127)
    y = 0.6 * x + 0.8 * rng.normal(size=127)
    return _bootstrap.jackknife(lambda rows: correlation(x[rows], y[rows]), 127)


def bootstrap_of_eta_squared(rng: np.random.Generator) -> Interval:
    types = np.repeat(np.arange(4), N // 4)
    x = rng.normal(size=N) + types
    return _bootstrap.statistic(lambda rows: float(eta_squared(x[rows, None], types[rows])[0]), N)


def bootstrap_of_an_area(rng: np.random.Generator) -> Interval:
    positive = np.arange(N) % 2 == 0
    x = rng.normal(size=N) + positive
    return _bootstrap.statistic(lambda rows: float(area(x[rows, None], positive[rows])[0]), N)


def jackknife_of_cka(rng: np.random.Generator) -> Interval:
    x = rng.normal(size=(N, 4))
    y = x + rng.normal(size=(N, 4))
    a, b = gram(x)[None], gram(y)[None]
    return _bootstrap.jackknife(lambda rows: float(alike(a[:, rows[:, None], rows], b[:, rows[:, None], rows])[0, 0]), N)


def welch_of_two_groups(rng: np.random.Generator) -> Interval:
    return difference(rng.normal(1, 3, size=8), rng.normal(size=100))


CASES = {
    "t": Case(0, t_of_normal),
    "bootstrap, skewed mean": Case(1, bootstrap_of_a_skewed_mean),
    "bootstrap, share of tokens": Case(0.6, bootstrap_of_a_share_of_tokens),
    "delta method, share of tokens": Case(0.6, delta_of_a_share_of_tokens),
    "bootstrap, rank correlation": Case(6 / np.pi * np.arcsin(0.3), bootstrap_of_a_correlation, fast=0, slow=600),
    "bootstrap, eta squared": Case(1.25 / 2.25, bootstrap_of_eta_squared, fast=200, slow=600),
    "bootstrap, area": Case(float(ndtr(np.sqrt(0.5))), bootstrap_of_an_area, fast=200, slow=600),
    "jackknife, rank correlation": Case(6 / np.pi * np.arcsin(0.3), jackknife_of_a_correlation, fast=300, slow=2000),
    "jackknife, CKA": Case(0.5, jackknife_of_cka, slow=2000),
    "Welch": Case(1, welch_of_two_groups),
}


def covered(case: Case, samples: int) -> float:
    rng = np.random.Generator(np.random.PCG64(1))
    found = [case.interval(rng) for _ in range(samples)]
    return float(np.mean([interval["low"] <= case.truth <= interval["high"] for interval in found]))


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bootstrap, "RESAMPLES", 300)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.fast])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    assert 0.93 <= covered(CASES[name], CASES[name].fast) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_truth_in_thousands_of_samples(name: str) -> None:
    assert 0.93 <= covered(CASES[name], CASES[name].slow) <= 0.97


def test_a_wrong_interval_would_be_noticed() -> None:
    """That of resamples of single tokens, which takes the tokens of a sequence for independent draws."""

    def of_tokens(rng: np.random.Generator) -> Interval:
        right = np.concatenate([rng.random(8) < share for share in rng.beta(0.6, 0.4, size=N)])
        return _bootstrap.ratio(right)

    assert covered(Case(0.6, of_tokens), 200) < 0.8


@pytest.mark.parametrize(("n", "p"), [(12, 0.5), (40, 0.1), (64, 0.97), (200, 0.3)])
def test_clopper_and_pearson_hold_it_at_least_as_often(n: int, p: float) -> None:
    """Exactly, over all outcomes."""
    from scipy.stats import binom

    outcomes = np.arange(n + 1)
    inside = [(found := statistics.proportion(int(k), n))["low"] <= p <= found["high"] for k in outcomes]
    assert binom.pmf(outcomes, n, p)[inside].sum() >= 0.95


def test_cka_of_wide_layers_errs_on_the_safe_side() -> None:
    """Its jackknife doubles what comes of pairs of inputs alone (Efron & Stein 1981), and of many features that is a part."""

    def wide(rng: np.random.Generator) -> Interval:
        x = rng.normal(size=(128, 64))
        a, b = gram(x)[None], gram(x + rng.normal(size=(128, 64)))[None]
        return _bootstrap.jackknife(lambda rows: float(alike(a[:, rows[:, None], rows], b[:, rows[:, None], rows])[0, 0]), 128)

    assert covered(Case(0.5, wide), 60) >= 0.95
