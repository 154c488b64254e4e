"""Measures that see only the order of values: rank correlation, and the area under the ROC curve."""

import numpy as np


def ranks(x: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) from 1 up, equal values sharing theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def standard_ranks(x: np.ndarray) -> np.ndarray:
    """The same with mean 0 and variance 1: the mean of the product of two is Spearman's correlation."""
    found = ranks(x)
    spread = found.std()
    return np.asarray((found - found.mean()) / (spread if spread else 1.0))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, of (N,) and (N,); 0 where one never changes."""
    return float((standard_ranks(x) * standard_ranks(y)).mean())


def area(x: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """x (N, F), positive (..., N) -> (..., F): how often a positive row's value is above another row's, ties half; 0.5 where either kind is missing."""
    found = np.stack([ranks(column) for column in x.T], 1)
    positive = positive.astype(np.float64)
    inside = positive.sum(-1)[..., None]
    pairs = inside * (len(x) - inside)
    above = positive @ found - inside * (inside + 1) / 2
    return np.asarray(np.divide(above, pairs, out=np.full(above.shape, 0.5), where=pairs > 0))
