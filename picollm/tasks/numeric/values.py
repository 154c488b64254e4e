"""The alphabet of every numeric sequence: the integers 0..126, one more id that pads, and two ways to stay inside."""

from collections.abc import Callable

import numpy as np

VALUES = 127  # a prime, so that steps and ratios modulo 127 have inverses
PAD = VALUES  # the last id: it fills rows up to their length and is never a target
VOCAB = VALUES + 1

Fold = Callable[[np.ndarray], np.ndarray]


def clamp(x: np.ndarray) -> np.ndarray:
    """What leaves 0..126 stops at its border."""
    return x.clip(0, VALUES - 1)


def wrap(x: np.ndarray) -> np.ndarray:
    """What leaves 0..126 comes in again at the other end."""
    folded: np.ndarray = x % VALUES
    return folded
