"""The exact predictor: the Bayes mixture over every sequence that exists.

A deterministic cell keeps its prior weight while the prefix agrees with it and has none after; the walk keeps the
product of its step probabilities; the five families are equally likely beforehand. Its loss is the floor of this task.

Shapes: N sequences, L their longest length, C cells.
"""

from typing import Literal

import numpy as np

from picollm.tasks.numeric.spec import DETERMINISTIC, FAMILIES, WALK, Spec
from picollm.tasks.numeric.values import VALUES

Prior = Literal["train", "full"]


def log_prefixes(spec: Spec, values: np.ndarray, prior: Prior = "train") -> np.ndarray:
    """log p(first t + 1 terms | family), -inf where the family excludes them. values (N, L >= 2) -> (5, N, L) nats, meaningless in padding."""
    N, L = values.shape
    assert 2 <= L <= spec.length, f"the table holds {spec.length} terms, the sequences {L}"
    x = np.where((values >= 0) & (values < VALUES), values, 0)  # padding may hold anything; what follows from it is not used
    logs = np.empty((len(FAMILIES), N, L))
    with np.errstate(divide="ignore"):
        weight = np.log(spec.prior(prior))  # (C,)
        for f in range(len(DETERMINISTIC)):
            cell = spec.index[f, x[:, 0], x[:, 1]]
            agrees = np.logical_and.accumulate(spec.table[cell, :L] == x, axis=1) & (cell >= 0)[:, None]
            logs[f] = np.where(agrees, weight[cell, None], -np.inf)
            logs[f, :, 0] = np.log(_first(spec, f, prior))[x[:, 0]]
        steps = np.log(spec.walk.kernel)[x[:, :-1], x[:, 1:]]
        logs[WALK] = np.cumsum(np.concatenate([np.log(spec.walk.first)[x[:, :1]], steps], 1), 1)
    return logs


def sequence_losses(spec: Spec, values: np.ndarray, lengths: np.ndarray, prior: Prior = "train") -> np.ndarray:
    """The exact predictor's loss on each term given those before it. values (N, L), lengths (N,) >= 2 -> (N, L) nats.

    NaN where nothing is scored: at the first term and beyond the length. `prior` says which cells the predictor
    believes in: those of training, or all. Infinite from the first term on that this prior excludes.
    """
    mixture = np.logaddexp.reduce(log_prefixes(spec, values, prior))  # (N, L), short of the constant log 5
    losses = np.full(values.shape, np.nan)
    with np.errstate(invalid="ignore"):
        losses[:, 1:] = mixture[:, :-1] - mixture[:, 1:]
    losses[np.isneginf(mixture)] = np.inf
    losses[(np.arange(values.shape[1]) >= lengths[:, None]) | (np.arange(values.shape[1]) == 0)] = np.nan
    return losses


def _first(spec: Spec, family: int, prior: Prior) -> np.ndarray:
    """(127,): how likely each first term is in a deterministic family."""
    own = spec.family == family
    return np.bincount(spec.table[own, 0], spec.prior(prior)[own], VALUES)
