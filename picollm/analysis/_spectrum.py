"""Periods in a table with a row for each value: the share of its variance at each frequency (as in Nanda et al. 2023, arXiv 2301.05217).

Shapes: N values, D model width.
"""

import numpy as np

from picollm.analysis import _bootstrap
from picollm.analysis._nulls import permutations


def power(x: np.ndarray) -> np.ndarray:
    """x (N, D) -> the share of the variance over its rows at each frequency (N // 2,), from one turn in N rows upwards."""
    parts = _parts(x).sum(1)
    return np.asarray(parts / max(parts.sum(), np.finfo(float).tiny))


def _parts(x: np.ndarray) -> np.ndarray:
    """(N, D) -> (N // 2, D): the power of each dimension."""
    n = len(x)
    power = np.abs(np.fft.rfft(x - x.mean(0), axis=0)[1:]) ** 2
    return np.asarray(power * np.where(2 * np.arange(1, n // 2 + 1) == n, 1, 2)[:, None])  # all but a wave that just alternates have a mirror image


def shuffled_power(x: np.ndarray) -> np.ndarray:
    """(SHUFFLES, N // 2): the same of rows in random order."""
    return np.stack([power(x[shuffle]) for shuffle in permutations(len(x), seed=2)])


def strongest(x: np.ndarray) -> tuple[int, float, _bootstrap.Interval]:
    """The frequency with the most power, from 1 up, its share, and the interval of that over the D dimensions, the frequency staying what it is.

    A number line is no period, yet has power at one turn.
    """
    shares = power(x)
    frequency = int(shares.argmax()) + 1
    return frequency, float(shares.max()), interval(x, np.array([frequency]))


def interval(x: np.ndarray, frequencies: np.ndarray) -> _bootstrap.Interval:
    """Of what some frequencies, from 1 up, share. A dimension is what is drawn: all values are there, and none is a sample."""
    parts = _parts(x)
    return _bootstrap.ratio(parts[frequencies - 1].sum(0), parts.sum(0))
