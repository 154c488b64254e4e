"""Drawing sequences: a deterministic one is a row of the specification's table, so a batch is one gather."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.spec import FAMILIES, WALK, Cells, Spec, specification

STREAM, SETS = 0, 1  # the first number of every seed: training batches and stored sets never share their random numbers


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], np.ndarray]:
    """`batch(step)` -> (N, L) int64 ids without any padding, a pure function of (config.seed, seed, step).

    All sequences of a batch have one length L, drawn in proportion to the terms that it has to score, and as many of them
    come as make up the terms of `batch_size` sequences of mixed lengths. So each scored term is as likely as when every
    sequence draws a length of its own, uniformly, but no time goes into padding (a third of it at lengths 8 to 32).
    Families are equally likely, and only training cells occur.
    """
    shortest, longest = config.train_lengths
    spec = specification(config.spec, config.holdout, longest)
    lengths = np.arange(shortest, longest + 1)
    scored = lengths - 1  # all terms but the first
    terms = batch_size * scored.mean()

    def batch(step: int) -> np.ndarray:
        rng = generator(STREAM, config.seed, seed, step)
        length = int(rng.choice(lengths, p=scored / scored.sum()))
        family = rng.integers(len(FAMILIES), size=max(1, round(terms / (length - 1))))
        return draw(rng, spec, family, length).astype(np.int64)

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
