"""Attention as shares of a row: of a model's heads, of uniform attention, and four numbers of either.

Shapes: L layers, N sequences, H heads, T tokens; a matrix is (T queries, T keys).
"""

from typing import Any

import numpy as np
import torch

from picollm.nn.decoder import attention_matrices

TINY = 1e-12  # a row without any weight stays one


def shares(model: Any, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, H, T, T): shares of a row's absolute weight, which some linear kinds give a sign."""
    sizes = attention_matrices(model, torch.from_numpy(ids).to(model.device)).abs()
    matrices: np.ndarray = (sizes / sizes.sum(-1, keepdim=True).clamp_min(TINY)).cpu().numpy()
    return matrices


def measures(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """(..., T, T) -> how many tokens back the weight lies on average, and its shares on the previous, the first and the same token (...).

    Averaged over the queries from the second on: the first has but itself to look at.
    """
    T = matrices.shape[-1]
    back = np.arange(T)[:, None] - np.arange(T)
    rows = matrices[..., 1:, :]
    return {
        "distance": (rows * back[1:]).sum(-1).mean(-1),
        "previous": np.diagonal(matrices, -1, -2, -1).mean(-1),
        "first": rows[..., 0].mean(-1),
        "self": np.diagonal(matrices, 0, -2, -1)[..., 1:].mean(-1),
    }


def uniform(T: int) -> np.ndarray:
    """(T, T): every token so far gets the same weight."""
    return np.tri(T) / np.arange(1, T + 1)[:, None]
