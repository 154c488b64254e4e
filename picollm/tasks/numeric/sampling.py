"""Drawing sequences: a deterministic one is a row of the specification's table, so a batch is one gather."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.spec import FAMILIES, WALK, Cells, Spec, specification
from picollm.tasks.numeric.values import PAD

STREAM, SETS = 0, 1  # the first number of every seed: training batches and stored sets never share their random numbers


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], np.ndarray]:
    """`batch(step)` -> (batch_size, longest training length) int64 ids padded with 127, a pure function of (config.seed, seed, step).

    Families are equally likely, lengths uniform, and only training cells occur.
    """
    shortest, longest = config.train_lengths
    spec = specification(config.spec, config.holdout, longest)

    def batch(step: int) -> np.ndarray:
        rng = generator(STREAM, config.seed, seed, step)
        family = rng.integers(len(FAMILIES), size=batch_size)
        lengths = rng.integers(shortest, longest + 1, size=batch_size)
        return cut(draw(rng, spec, family, longest).astype(np.int64), lengths, PAD)

    return batch


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(seed)))


def draw(rng: np.random.Generator, spec: Spec, family: np.ndarray, length: int, cells: Cells = "train") -> np.ndarray:
    """One sequence for each entry of `family` (N,), its cell equally likely among the training or held-out ones -> (N, length) int16."""
    pool = _pool(spec, cells)
    members = pool.members[pool.first[family] + rng.integers(pool.count[family])]
    values = spec.table[members] if length == spec.length else spec.table[members, :length]
    walks = np.flatnonzero(family == WALK)
    values[walks] = spec.walk.draw(rng, len(walks), length)
    return values


def cut(values: np.ndarray, lengths: np.ndarray, filler: int) -> np.ndarray:
    """`values` (N, L) with `filler` beyond each row's length (N,), in place."""
    values[np.arange(values.shape[1]) >= lengths[:, None]] = filler
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
