"""Controls: the best possible predictors that see only the last 0 to 4 terms, computed exactly.

An n-gram table holds the true probability of the next term after each context of n - 1 terms, pooled over positions
and families; at the start of a sequence, where fewer terms exist, it uses a table of its own for the shorter context.
Nothing is fitted to a sample: windows of all cells are enumerated, those of the walk from its marginals.

Shapes: C cells, P paths of the walk, k terms of context.
"""

import numpy as np

from picollm.tasks.numeric.predictor import Prior
from picollm.tasks.numeric.spec import FAMILIES, Spec
from picollm.tasks.numeric.values import VALUES
from picollm.tasks.numeric.walk import STEPS

NAMES = ("unigram", "bigram", "3-gram", "4-gram", "5-gram")  # seeing 0, 1, 2, 3, 4 terms


def controls(spec: Spec, weights: np.ndarray, prior: Prior = "train") -> dict[str, dict[str, float]]:
    """{name: {"loss" nats, "accuracy"}} of the uniform guess over the values 0..126 and of each table; `weights` (high,) are _rows.term_weights."""
    weights = weights / weights.sum()
    high = len(weights)
    result = {"uniform": {"loss": float(np.log(VALUES)), "accuracy": 1 / VALUES}}
    begun = np.zeros(2)  # loss and accuracy earned at the starts, where only k terms exist
    for k, name in enumerate(NAMES):
        loss, accuracy = begun + _table(spec, k, np.arange(max(k, 1), high), weights, prior)
        result[name] = {"loss": float(loss), "accuracy": float(accuracy)}
        if 1 <= k < high:
            begun += _table(spec, k, np.array([k]), weights, prior)
    return result


def _table(spec: Spec, k: int, targets: np.ndarray, weights: np.ndarray, prior: Prior) -> np.ndarray:
    """What one table for contexts of k terms adds to the loss and to the accuracy when it predicts the terms at `targets`. -> (2,)."""
    if not len(targets):
        return np.zeros(2)
    parts = [_cells(spec, k, targets, weights, prior), _walks(spec, k, targets, weights)]
    keys, mass = (np.concatenate(part) for part in zip(*parts, strict=True))
    windows, which = np.unique(keys, return_inverse=True)
    joint = np.bincount(which, mass)
    _, first, size = np.unique(windows // VALUES, return_index=True, return_counts=True)  # windows of one context are neighbours
    total = np.repeat(np.add.reduceat(joint, first), size)
    return np.array([-(joint * np.log(joint / total)).sum(), np.maximum.reduceat(joint, first).sum()])


def _cells(spec: Spec, k: int, targets: np.ndarray, weights: np.ndarray, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Windows of k + 1 terms that end at a target, in all cells, as numbers to base 127, and their probabilities."""
    members = spec.members(prior)
    keys = np.zeros((len(members), len(targets)), np.int64)
    for back in range(k, -1, -1):
        keys = keys * VALUES + spec.table[members[:, None], targets - back]
    mass = spec.prior(prior)[members, None] / len(FAMILIES) * weights[targets]
    return keys.ravel(), mass.ravel()


def _walks(spec: Spec, k: int, targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for the walk: wherever a window may begin, all 4^k ways to go on."""
    marginals = spec.walk.marginals(int(targets[-1]) + 1)
    mass = weights[targets] @ marginals[targets - k] / len(FAMILIES)  # (127,)
    last = np.flatnonzero(mass)
    mass, keys = mass[last], last
    for _ in range(k):
        last = spec.walk.following[last].ravel()  # (P, 4) -> (4 P,)
        keys = np.repeat(keys, len(STEPS)) * VALUES + last
        mass = np.repeat(mass, len(STEPS)) / len(STEPS)
    return keys, mass
