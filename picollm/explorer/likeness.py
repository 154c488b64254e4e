"""How alike the layers of two models hold the same sequences, by debiased CKA: each layer with its like, beside what chance and fresh models give.

Shapes: N sequences, L layers that both have, the embedding included.
"""

import numpy as np

from picollm.analysis import _bootstrap, _inputs
from picollm.analysis._cka import alike, grams, permuted
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Estimate, Skip, Subject, estimate

PER_FAMILY = 40  # sequences
FEWEST = 8


def likeness(left: Subject, right: Subject) -> dict[str, Estimate] | Skip:
    """{"embed", "0", "1", ...}: the CKA of that layer of both. Nulls: the sequences in another order, and the right model with fresh weights."""
    reason = left.without_taps or right.without_taps
    if reason:
        return Skip(reason)
    ids = _inputs.mixed(left, PER_FAMILY)
    if len(ids) < FEWEST:
        return Skip(f"needs {FEWEST} different sequences, there are {len(ids)}")
    own, other = grams(left.model, ids), grams(right.model, ids)
    L = min(len(own), len(other))
    own, other = own[:L], other[:L]

    def over(rows: np.ndarray) -> np.ndarray:
        """(L,): of some of the sequences."""
        return np.diagonal(alike(own[:, rows[:, None], rows], other[:, rows[:, None], rows]))

    chance = np.diagonal(permuted(own, other), 0, 1, 2)  # (SHUFFLES, L)
    fresh = np.stack([np.diagonal(alike(own, grams(model, ids)[:L])) for model in untrained(right)])  # (models, L)
    names, ends = ["embed", *map(str, range(L - 1))], _bootstrap.jackknives(over, len(ids))
    columns = zip(names, over(np.arange(len(ids))), chance.T, fresh.T, ends, strict=True)
    return {name: estimate(value, len(ids), {"permuted": orders, "untrained": models}, **interval) for name, value, orders, models, interval in columns}
