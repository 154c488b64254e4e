"""The exact predictor: Polya's urn. After n steps, n_s of them of kind s, the next is s with probability (n_s + alpha) / (n + 4 alpha).

That is the mean of the law under its posterior, a Dirichlet distribution whose parameters are the counts plus alpha.

Shapes: N sequences, L terms of `size` values, so L - 1 steps of K = 4 kinds.
"""

import numpy as np

from picollm.tasks.urn.config import STEPS


def steps_of(values: np.ndarray, size: int) -> np.ndarray:
    """(N, L) -> (N, L - 1) indices into STEPS; meaningless in padding."""
    x = values.astype(np.int64)
    return ((x[:, 1:] - x[:, :-1] - STEPS[0]) % size).clip(0, len(STEPS) - 1)


def probabilities(alpha: float, values: np.ndarray, size: int) -> np.ndarray:
    """(N, L) -> (N, L - 1, K): the law of the step to each term but the first, given the terms before."""
    taken = steps_of(values, size)[:, :-1, None] == np.arange(len(STEPS))
    urn = np.full((len(values), values.shape[1] - 1, len(STEPS)), alpha)
    urn[:, 1:] += taken.cumsum(1)
    return urn / (np.arange(values.shape[1] - 1) + len(STEPS) * alpha)[:, None]


def sequence_losses(alpha: float, values: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """The exact predictor's loss on each term given those before it. (N, L), lengths (N,) -> (N, L) nats; NaN at the first term and beyond the length."""
    losses = np.full(values.shape, np.nan)
    losses[:, 1:] = -np.log(np.take_along_axis(probabilities(alpha, values, size), steps_of(values, size)[..., None], 2)[..., 0])
    losses[np.arange(values.shape[1]) >= lengths[:, None]] = np.nan
    return losses
