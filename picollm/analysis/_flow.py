"""From which input tokens a token's last state can have come: rollout and maximum flow (Abnar & Zuidema 2020, arXiv 2005.00928).

Both follow (A + 1) / 2 from block to block: half of what a token holds is what attention brought, half what it was; heads
are averaged. Rollout multiplies along paths and adds them up, flow asks how much passes at most when paths share their edges.

Corrected for the receptive field: in causal attention an early token is seen by more tokens, so that even uniform weights
give it more (six layers, 16 tokens: rollout 0.405 of the first one, whose share is 0.0625). Divided by what uniform weights
give, and by the mean of that, 1 is as much as uniform attention brings.

Shapes: L layers, N sequences, T tokens.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

UNIT = 10**9  # of a capacity: scipy counts in whole numbers of 32 bits


def rollout(weights: np.ndarray) -> np.ndarray:
    """(L, ..., T, T), heads averaged -> (..., T): the last token's share of every input token."""
    return reach(weights)[0]


def reach(weights: np.ndarray) -> np.ndarray:
    """(L, ..., T, T) -> (L + 1, ..., T): of the last token's state, what passes through each token below block 0, 1, ... and, at L, above all."""
    T = weights.shape[-1]
    row = np.broadcast_to(np.eye(T)[-1], (*weights.shape[1:-2], T))
    rows = [row]
    for layer in reversed(with_residual(weights)):
        row = (row[..., None, :] @ layer)[..., 0, :]
        rows.append(row)
    return np.stack(rows[::-1])


def with_residual(weights: np.ndarray) -> np.ndarray:
    return (weights + np.eye(weights.shape[-1])) / 2


def flow(weights: np.ndarray) -> np.ndarray:
    """(L, T, T) of one sequence -> (T,): the maximum flow from the last token above all blocks to every input token."""
    L, T, _ = weights.shape
    matrix = np.zeros(((L + 1) * T, (L + 1) * T), np.int32)
    for layer, capacities in enumerate(with_residual(weights)):
        matrix[(layer + 1) * T : (layer + 2) * T, layer * T : (layer + 1) * T] = np.rint(capacities * UNIT)
    graph, source = csr_array(matrix), (L + 1) * T - 1
    return np.array([maximum_flow(graph, source, token).flow_value / UNIT for token in range(T)])


def corrected(found: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Both (..., T), of a model and of uniform weights over what its tokens see -> (..., T) with mean 1; 1 too for a token out of reach of either."""
    within = uniform > 0
    relative = np.divide(found, uniform, out=np.zeros(np.broadcast_shapes(found.shape, uniform.shape)), where=within)
    mean = relative.sum(-1, keepdims=True) / within.sum(-1, keepdims=True)
    return np.where(within, relative / mean, 1.0)
