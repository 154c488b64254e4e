"""Which problems are never trained on: decided by a hash of their operands, whatever their order, digits or zeros in front.

Shapes: N problems, K operands, W digits, units first.
"""

import numpy as np

MULTIPLIER, FIRST, SECOND = (np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mixed(x: np.ndarray) -> np.ndarray:
    """splitmix64's last step (Steele et al. 2014): every bit of the result depends on every bit of `x`."""
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


def is_held_out(digits: np.ndarray, share: float) -> np.ndarray:
    """(N, K, W) -> (N,) bool, true for `share` of all unordered sets of operands. Wrapping 64-bit arithmetic throughout."""
    numbers = np.zeros(digits.shape[:2], np.uint64)
    for k in reversed(range(digits.shape[2])):  # from the front: a zero there leaves the hash at 0
        numbers = numbers * MULTIPLIER + digits[:, :, k].astype(np.uint64)
    result = np.zeros(len(digits), np.uint64)
    for operand in np.sort(_mixed(numbers + np.uint64(1)), axis=1).T:
        result = _mixed(result * MULTIPLIER + operand)
    return (result >> np.uint64(32)) < np.uint64(round(share * 2**32))
