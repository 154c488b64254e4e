"""Drawing sequences: a deterministic one is a row of the specification's table, so a batch is one gather."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from picollm.tasks import _rows
from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.spec import FAMILIES, WALK, Cells, Spec, specification


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], np.ndarray]:
    """`batch(step)` -> (N, L) int64 ids, see _rows.stream. Families are equally likely, and only training cells occur."""
    spec = specification(config.spec, config.holdout, config.train_lengths[1])

    def batch(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        return draw(rng, spec, rng.integers(len(FAMILIES), size=n), length).astype(np.int64)

    return _rows.stream(config, seed, batch_size, batch)


def draw(rng: np.random.Generator, spec: Spec, family: np.ndarray, length: int, cells: Cells = "train") -> np.ndarray:
    """One sequence for each entry of `family` (N,), its cell equally likely among the training or held-out ones -> (N, length) int16."""
    pool = _pool(spec, cells)
    members = pool.members[pool.first[family] + rng.integers(pool.count[family])]
    values = spec.table[members] if length == spec.length else spec.table[members, :length]
    walks = np.flatnonzero(family == WALK)
    values[walks] = spec.walk.draw(rng, len(walks), length)
    return values


@dataclass(frozen=True, eq=False)
class Pool:
    """The cells to draw from, family after family."""

    members: np.ndarray  # (n,) rows of the specification's table
    first: np.ndarray  # (5,) where each family starts in `members`
    count: np.ndarray  # (5,) how many it has


@lru_cache(maxsize=8)
def _pool(spec: Spec, cells: Cells) -> Pool:
    counts = spec.counts(cells)
    # The walk has no cells: it draws any one and writes its own terms over it.
    return Pool(spec.members(cells), np.append(np.cumsum(counts) - counts, 0), np.append(counts, 1))
