"""Counting: start, start + 1, start + 2, ..."""

import numpy as np

from picollm.tasks.numeric.values import Fold


def terms(cells: np.ndarray, length: int, fold: Fold) -> np.ndarray:
    """(C, 1) starts -> (C, length)."""
    return fold(cells + np.arange(length))
