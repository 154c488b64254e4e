"""Arrays as text inside a page: whole numbers of 16 bits, and what one of them is worth.

Shapes: T tokens.
"""

import base64
from typing import Any

import numpy as np

LARGEST = 32767  # so that an error is at most one part in 65,534 of the largest number that shares the scale


def packed(values: np.ndarray) -> dict[str, Any]:
    """(..., N) -> {"data": base64 of int16, little end first, "steps": what 1 is worth (...), flat}; nothing is lost of a row of zeros."""
    steps = np.abs(values).max(-1, keepdims=True) / LARGEST
    whole = np.rint(values / np.where(steps, steps, 1)).astype("<i2")
    return {"data": base64.b64encode(whole.tobytes()).decode("ascii"), "steps": [float(f"{step:.8g}") for step in steps.flat]}


def triangles(matrices: np.ndarray) -> np.ndarray:
    """(..., T, T) -> (..., T (T + 1) / 2): row by row what a query can see, which is all there is."""
    return matrices[..., *np.tril_indices(matrices.shape[-1])]
