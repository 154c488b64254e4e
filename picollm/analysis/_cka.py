"""Debiased linear CKA: how alike two layers, of one model or of two, hold the same inputs, whatever the axes and the unit of either.

The plain form calls independent noise alike as soon as features outnumber inputs: 64 samples of 512 Gaussians score 0.885
(Davari et al. 2022, arXiv 2210.16156). Here Gram matrices are U-centred (Szekely & Rizzo 2014; Murphy et al. 2024, arXiv
2405.01012), which makes the covariance between them unbiased: independent noise scores 0 on average, at times below it.

Shapes: N inputs, D features of a layer, L layers of a model, the embedding included.
"""

import numpy as np

from picollm.analysis._nulls import permutations
from picollm.analysis._states import residual_sites, states
from picollm.models import Model

FEWEST = 4  # inputs: with three every U-centred matrix is 0
SEED = 6


def gram(x: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, N). The mean is taken off for precision alone: U-centring does not see it."""
    x = x - x.mean(0)
    return np.asarray(x @ x.T)


def centred(matrix: np.ndarray) -> np.ndarray:
    """(..., N, N) -> the same, U-centred: rows and columns sum to 0 without the diagonal, which is 0."""
    n = matrix.shape[-1]
    assert n >= FEWEST, f"{n} inputs say nothing of how alike two layers are"
    matrix = matrix * (1 - np.eye(n))
    rows = matrix.sum(-1, keepdims=True)
    total = rows.sum(-2, keepdims=True)
    return np.asarray((matrix - (rows + rows.swapaxes(-1, -2)) / (n - 2) + total / ((n - 1) * (n - 2))) * (1 - np.eye(n)))


def unit(matrices: np.ndarray) -> np.ndarray:
    """Gram matrices (L, N, N) -> the same, U-centred and of length 1; 0 for a layer that holds all inputs alike."""
    matrices = centred(matrices)
    return np.asarray(matrices / np.maximum(np.linalg.norm(matrices, axis=(1, 2), keepdims=True), np.finfo(float).tiny))


def alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Gram matrices (L, N, N) and (M, N, N) -> CKA (L, M)."""
    return np.tensordot(unit(a), unit(b), ((1, 2), (1, 2)))


def permuted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same with the inputs of `b` in random orders, which leaves nothing to be alike but chance -> (SHUFFLES, L, M)."""
    a, b = unit(a), unit(b)
    return np.stack([np.tensordot(a, b[:, order[:, None], order], ((1, 2), (1, 2))) for order in permutations(a.shape[1], SEED)])


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """(N, D) and (N, another D) -> at most 1, 0 on average for independent ones."""
    return float(alike(gram(x)[None], gram(y)[None])[0, 0])


def grams(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, N): of the embedding and every block's output, read at one token of each sequence, so that inputs are independent.

    At a random one, the same for every model: the last tokens of all sequences might be a class of their own.
    """
    n, T = ids.shape
    place = np.random.Generator(np.random.PCG64([SEED, n])).integers(T // 2, T, size=n)
    sites = residual_sites(model, "resid_post")
    found = states(model, ids, np.arange(n), place, sites)
    return np.stack([gram(found[site]) for site in sites])


def between(first: Model, second: Model, ids: np.ndarray) -> np.ndarray:
    """CKA of every layer of one model with every layer of another on the same token ids (N, T) -> (L, M)."""
    return alike(grams(first, ids), grams(second, ids))
