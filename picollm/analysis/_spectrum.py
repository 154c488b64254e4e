"""Periods in a table with a row for each value: the share of its variance at each frequency (as in Nanda et al. 2023, arXiv 2301.05217).

Shapes: N values, D model width.
"""

import numpy as np

from picollm.analysis._nulls import permutations
from picollm.analysis._result import Estimate, estimate


def power(x: np.ndarray) -> np.ndarray:
    """x (N, D) -> the share of the variance over its rows at each frequency (N // 2,), from one turn in N rows upwards."""
    n = len(x)
    x = x - x.mean(0)
    frequencies = np.arange(1, n // 2 + 1)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n)) / n)
    parts = (np.abs(waves @ x) ** 2).sum(1) * np.where(2 * frequencies == n, 1, 2)  # all but a wave that just alternates have a mirror image
    return np.asarray(parts / max(parts.sum(), np.finfo(float).tiny))


def shuffled_power(x: np.ndarray) -> np.ndarray:
    """(SHUFFLES, N // 2): the same of rows in random order."""
    return np.stack([power(x[shuffle]) for shuffle in permutations(len(x), seed=2)])


def period(x: np.ndarray) -> tuple[Estimate, np.ndarray, float]:
    """The strongest frequency over the values: x (N, D) -> its share, all shares (N // 2,) from one turn upwards, and the height that
    the highest share of shuffled values stays below in 95 % of cases.

    A number line is no period, yet has power at one turn.
    """
    found, null = power(x), shuffled_power(x).max(1)
    frequency = int(found.argmax()) + 1
    result = estimate(found.max(), len(x), {"shuffled": null}, frequency=frequency, period=len(x) / frequency)
    return result, found, float(np.quantile(null, 0.95))
