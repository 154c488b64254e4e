"""How far apart heads are: the Jensen-Shannon distance between the rows of their attention, averaged over tokens and sequences.

Of weights with a sign, as some linear kinds have them, the rows are shares of the absolute weight.

Shapes: N sequences, A and B heads, T tokens.
"""

import numpy as np

TINY = 1e-12  # keeps 0 log 0 at 0
BLOCK = 1 << 22  # numbers at a time


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows that sum to 1, (N, A, T, T) and (N, B, T, T) -> (N, A, B) in 0..1: the square root of the divergence in bits, the mean over queries.

    From the second query on: the first has but itself to look at.
    """
    a, b = a[:, :, 1:], b[:, :, 1:]
    own = [_entropy(rows) for rows in (a, b)]
    result = np.empty((len(a), a.shape[1], b.shape[1]))
    step = max(1, BLOCK // max(1, b[0].size * a.shape[1]))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        both = _entropy((a[part, :, None] + b[part, None]) / 2)  # (N, A, B, T - 1)
        divergence = both - (own[0][part, :, None] + own[1][part, None]) / 2
        result[part] = np.sqrt(divergence.clip(0, 1)).mean(-1)
    return result


def _entropy(rows: np.ndarray) -> np.ndarray:
    """(..., T) -> (...), in bits."""
    return np.asarray(-(rows * np.log2(np.maximum(rows, TINY))).sum(-1))


def flat(matrices: np.ndarray) -> np.ndarray:
    """(L, N, H, T, T) -> (N, L H, T, T): all heads, layer by layer."""
    return np.asarray(np.moveaxis(matrices, 0, 1).reshape(matrices.shape[1], -1, *matrices.shape[-2:]))


def names(layers: int, heads: int) -> list[str]:
    return [f"{layer}.{head}" for layer in range(layers) for head in range(heads)]
