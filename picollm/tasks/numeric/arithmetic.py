"""Arithmetic: start, start + step, start + 2 step, ..."""

import numpy as np

from picollm.tasks.numeric.values import Fold


def terms(cells: np.ndarray, length: int, fold: Fold) -> np.ndarray:
    """(C, 2) pairs of start and step -> (C, length)."""
    start, step = cells[:, :1], cells[:, 1:]
    return fold(start + step * np.arange(length))
