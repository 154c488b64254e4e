"""What a few seeds allow to say of a difference: an interval, an effect size, and how surprised a boundary would be.

A difference lies above or below a boundary; every statement of the ledger is made of such halves, equivalence too (Schuirmann 1987, two one-sided
tests). Paired differences have Student's t, others Welch's with Satterthwaite's degrees of freedom, shares the exact binomial and Fisher's exact test
with intervals of Clopper & Pearson (1934). Many statements are corrected together (Holm 1979).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, gammaln, ndtr, ndtri, stdtr, stdtrit  # alone: scipy.stats takes half a second to import

from picollm.core.statistics import proportion

LEVEL = 0.95
ONE_MODEL = ("one model", "draws of a null")  # what is said of a single model, not of a recipe


@dataclass(frozen=True)
class Difference:
    """left - right. `above(x)` is the one-sided p of "it is no more than x", `below(x)` that of "it is no less than x"."""

    value: float
    n: int  # seeds of the side that has fewer
    above: Callable[[float], float]
    below: Callable[[float], float]
    low: float | None = None  # of the 95 % interval; None where there is no spread to tell it by
    high: float | None = None
    effect: float | None = None  # Hedges' g
    how: str = ""  # "paired", "Welch", ...


def by_seed(left: Mapping[str, float], right: Mapping[str, float]) -> Difference | None:
    """Over the seeds that both have; None with fewer than two."""
    seeds = [seed for seed in left if seed in right]
    if len(seeds) < 2:
        return None
    a, b = (np.array([side[seed] for seed in seeds]) for side in (left, right))
    return _by_t(a - b, len(seeds) - 1, _g(float((a - b).mean()), a, b), 0.5 ** len(seeds), "paired")


def apart(left: Sequence[float], right: Sequence[float]) -> Difference | None:
    """Of seeds that have nothing in common; None where a side has fewer than two."""
    if min(len(left), len(right)) < 2:
        return None
    a, b = np.array(left), np.array(right)
    shares = [float(side.var(ddof=1)) / len(side) for side in (a, b)]
    error = math.sqrt(sum(shares))
    value = float(a.mean() - b.mean())
    df = error**4 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, (a, b), strict=True)) if error else 0.0
    alike = 1 / math.comb(len(a) + len(b), len(a))
    return _student(value, error, df, min(len(a), len(b)), _g(value, a, b), alike, "Welch")


def from_number(left: Sequence[float], number: float) -> Difference | None:
    """Of seeds and a number that has no spread; None with fewer than two seeds."""
    a = np.array(left)
    if len(a) < 2:
        return None
    return _by_t(a - number, len(a) - 1, _g(float((a - number).mean()), a), 0.5 ** len(a), "one sample")


def of_estimate(value: float, low: float, high: float, n: int, number: float) -> Difference:
    """Of one model's figure with its 95 % interval over what it was measured on, and a number: by the normal distribution."""
    error = (high - low) / (2 * float(ndtri(0.5 + LEVEL / 2)))
    found = value - number
    if error <= 0:
        return Difference(found, n, lambda x: 1.0, lambda x: 1.0, how="one model")
    above, below = (lambda x: float(ndtr((x - found) / error))), (lambda x: float(ndtr((found - x) / error)))
    return Difference(found, n, above, below, low - number, high - number, how="one model")


def of_null(value: float, n: int, mean: float, low: float, high: float, p: float) -> Difference:
    """Of one model's figure and draws of a null, by how many of them reach it. The interval is the central 95 % of what the draws leave of it."""
    return Difference(value - mean, n, _only_at_zero(p), _only_at_zero(1.0), value - high, value - low, how="draws of a null")


def shares(left: tuple[int, int], right: tuple[int, int]) -> Difference:
    """Of two shares (successes, n): Fisher's exact test. The interval is made of one of 97.5 % for each share, and so is a little too wide."""
    (k, n), (j, m) = left, right
    a, b = (proportion(*side, level=(1 + LEVEL) / 2) for side in (left, right))
    total = k + j
    ways = {x: math.comb(n, x) * math.comb(m, total - x) for x in range(max(0, total - m), min(n, total) + 1)}
    every = sum(ways.values())
    more, less = (sum(count for x, count in ways.items() if chosen(x)) / every for chosen in (lambda x: x >= k, lambda x: x <= k))
    return Difference(k / n - j / m, min(n, m), _only_at_zero(more), _only_at_zero(less), a["low"] - b["high"], a["high"] - b["low"], how="Fisher")


def share(left: tuple[int, int], rate: float) -> Difference:
    """Of a share and a rate: the exact binomial test."""
    k, n = left
    found = proportion(k, n, level=LEVEL)
    more, less = float(bdtrc(k - 1, n, rate)) if k else 1.0, float(bdtr(k, n, rate))
    return Difference(k / n - rate, n, _only_at_zero(more), _only_at_zero(less), found["low"] - rate, found["high"] - rate, how="binomial")


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted: those that stay below 0.05 are all right with a probability of 95 %."""
    order = np.argsort(p, kind="stable")
    result = [1.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        result[place] = highest
    return result


def _by_t(differences: np.ndarray, df: float, effect: float | None, alike: float, how: str) -> Difference:
    n = len(differences)
    return _student(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n), df, n, effect, alike, how)


def _student(value: float, error: float, df: float, n: int, effect: float | None, alike: float, how: str) -> Difference:
    """`alike`: the p where seeds agree to the last digit and t would divide by nothing: that of signs alone, or of ranks."""
    if error <= 1e-12 * abs(value):  # the rounding of a mean
        return Difference(value, n, lambda x: alike if value > x else 1.0, lambda x: alike if value < x else 1.0, effect=None, how=how)
    half = float(stdtrit(df, 0.5 + LEVEL / 2)) * error
    above, below = (lambda x: float(stdtr(df, (x - value) / error))), (lambda x: float(stdtr(df, (value - x) / error)))
    return Difference(value, n, above, below, value - half, value + half, effect, how)


def _g(value: float, *sides: np.ndarray) -> float | None:
    """Hedges' g: in standard deviations of a side over its seeds, without the bias of small samples; None where seeds do not differ."""
    df = sum(len(side) - 1 for side in sides)
    pooled = math.sqrt(sum((len(side) - 1) * float(side.var(ddof=1)) for side in sides) / df)
    if pooled <= 1e-12 * max(float(np.abs(side).max()) for side in sides):
        return None
    return value / pooled * math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2) if df > 1 else None


def _only_at_zero(p: float) -> Callable[[float], float]:
    """Of a test that knows no other boundary."""

    def at(boundary: float) -> float:
        assert boundary == 0
        return p

    return at
