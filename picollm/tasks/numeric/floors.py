"""The expected loss and accuracy of the exact predictor, per family and position, without drawing a single sequence.

Cells: all of them are followed term by term, grouped by the prefix they share; a cell that shares its prefix with no
other and that the walk excludes is predicted with certainty from there on and needs no further look.
Walk: its conditional entropy comes from its marginal chain. A cell that the walk might imitate makes the predictor's
doubt R(t) = sum over such prefixes of p(prefix) log(mixture / walk) at length t, and the expected loss of the next
term is entropy + R(t) - R(t + 1).

Shapes: C cells followed, G distinct prefixes of theirs, L terms.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from picollm.tasks.numeric.predictor import Prior
from picollm.tasks.numeric.spec import DETERMINISTIC, FAMILIES, WALK, Spec
from picollm.tasks.numeric.values import VALUES

IDENTIFIED = 3  # from the 4th term on (index 3) hardly a deterministic sequence is still in doubt


@dataclass(frozen=True, eq=False)
class Floors:
    """Expected values at each term; NaN at the first, which is not scored."""

    loss: np.ndarray  # (5, L) nats
    accuracy: np.ndarray  # (5, L); where the best guesses tie, each is taken equally often

    def average(self, weights: np.ndarray) -> dict[str, Any]:
        """The mean over the terms with these weights (see _rows.term_weights): {"loss", "accuracy", "families": {name: {"loss", "accuracy"}}}."""
        scored = slice(1, len(weights))
        loss, accuracy = (x[:, scored] @ weights[scored] / weights[scored].sum() for x in (self.loss, self.accuracy))
        families = {name: {"loss": float(loss[f]), "accuracy": float(accuracy[f])} for f, name in enumerate(FAMILIES)}
        return {"loss": float(loss.mean()), "accuracy": float(accuracy.mean()), "families": families}


def expected(spec: Spec, prior: Prior = "train") -> Floors:
    """The exact floor at each of spec.length terms, on sequences drawn from the same cells that the predictor believes in."""
    L, kernel = spec.length, spec.walk.kernel
    marginals = spec.walk.marginals(L)
    best = kernel.max(1)
    loss, accuracy = np.zeros((2, len(FAMILIES), L))
    loss[:, 0] = accuracy[:, 0] = np.nan
    loss[WALK, 1:] = (marginals @ spec.walk.entropy)[:-1]
    accuracy[WALK, 1:] = (marginals @ best)[:-1]

    cells = spec.members(prior)
    family, weight = spec.family[cells], spec.prior(prior)[cells]
    group, walk, mixture = np.zeros(len(cells), np.int64), np.zeros(len(cells)), np.zeros(len(cells))  # the last two: log p of the prefix
    with np.errstate(divide="ignore"):
        log_first, log_kernel = np.log(spec.walk.first), np.log(kernel)
    for t in range(L):  # the prefix has t + 1 terms
        x = spec.table[cells, t]
        walk = walk + log_kernel[spec.table[cells, t - 1], x] if t else log_first[x]
        group, member, size = _regroup(group * VALUES + x)
        before, mixture = mixture, np.logaddexp(np.log(np.bincount(group, weight)[group]), walk)
        if t > 0:
            loss[:WALK, t] += np.bincount(family, weight * (before - mixture), len(DETERMINISTIC))
        shared = member[np.isfinite(walk[member])]
        doubt = (np.exp(walk[shared]) * (mixture[shared] - walk[shared])).sum()
        if t > 0:
            loss[WALK, t] -= doubt
        if t + 1 == L:
            break
        loss[WALK, t + 1] += doubt

        open_ = (size[group] > 1) | np.isfinite(walk)
        accuracy[:WALK, t + 1] = 1 - np.bincount(family[open_], weight[open_], len(DETERMINISTIC))
        cells, family, weight, walk, mixture, last = (v[open_] for v in (cells, family, weight, walk, mixture, x))
        group, member, _ = _regroup(group[open_])
        imitated, last = np.exp(walk[member]), last[member]
        hits, walk_hits = _hits(group, spec.table[cells, t + 1], weight, imitated[:, None] * kernel[last])
        accuracy[:WALK, t + 1] += np.bincount(family, weight * hits, len(DETERMINISTIC))
        accuracy[WALK, t + 1] += (walk_hits - imitated * best[last]).sum()
    return Floors(loss, accuracy)


def _regroup(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equal keys to one group: the group of each cell (C,), one cell of each group (G,), the size of each group (G,)."""
    _, member, group, size = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return group, member, size


def _hits(group: np.ndarray, following: np.ndarray, weight: np.ndarray, walk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often the best guess after each prefix is right: for each cell (C,), and p(prefix and right) for the walk (G,). walk: (G, 127)."""
    joint = walk + np.bincount(group * VALUES + following, weight, walk.size).reshape(walk.shape)
    guess = (joint >= joint.max(1, keepdims=True) * (1 - 1e-12)).astype(np.float64)  # sums of equal weights differ by rounding
    guess /= guess.sum(1, keepdims=True)
    return guess[group, following], (walk * guess).sum(1)
