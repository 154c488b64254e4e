"""Geometric: start, start x ratio, start x ratio^2, ..."""

import numpy as np

from picollm.tasks.numeric.values import Fold


def terms(cells: np.ndarray, length: int, fold: Fold) -> np.ndarray:
    """(C, 2) pairs of start and ratio -> (C, length). Term by term, since the powers themselves would overflow."""
    x, ratio = cells.T
    out = np.empty((length, len(cells)), cells.dtype)
    for t in range(length):
        out[t] = x
        x = fold(x * ratio)
    return out.T
