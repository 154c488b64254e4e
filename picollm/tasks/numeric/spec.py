"""The two specifications, `classic` and `modular`: which sequences exist, and which of them training never sees.

A deterministic sequence is a cell: one choice of its family's parameters. In both specifications the first two terms
of a sequence identify its cell within its family, on which the exact predictor (predictor.py) rests.

`classic` has 88 cells in tiny ranges, clamped at 126: too few for a hold-out, so it has none; it checks the machinery.
`modular` has some 47,000, computed modulo 127, and holds out a share of the (start, step), (start, ratio), (a, b) cells.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from picollm.tasks.numeric import alternating, arithmetic, counting, geometric
from picollm.tasks.numeric.values import VALUES, Fold, clamp, wrap
from picollm.tasks.numeric.walk import Walk

Name = Literal["classic", "modular"]
Cells = Literal["train", "heldout", "full"]
FAMILIES = ("counting", "arithmetic", "geometric", "alternating", "walk")
DETERMINISTIC = FAMILIES[:4]
HELD_FAMILIES = DETERMINISTIC[1:]
WALK = FAMILIES.index("walk")
_RULES = (counting, arithmetic, geometric, alternating)
_HOLDOUT_SEED = 127  # fixed: whatever else changes, the same cells are held out


@dataclass(frozen=True, eq=False)
class Spec:
    """All C deterministic cells in one table, family after family, and the walk."""

    name: Name
    holdout: float
    table: np.ndarray  # (C, L) int16: the first L terms of each cell
    family: np.ndarray  # (C,) index into FAMILIES
    held: np.ndarray  # (C,) bool: never drawn for training
    walk: Walk

    @property
    def length(self) -> int:
        return int(self.table.shape[1])

    @cached_property
    def index(self) -> np.ndarray:
        """(4, 127, 127): the cell of a family whose first two terms are given, -1 where there is none."""
        index = np.full((len(DETERMINISTIC), VALUES, VALUES), -1, np.int32)
        index[self.family, self.table[:, 0], self.table[:, 1]] = np.arange(len(self.table))
        return index

    def members(self, cells: Cells) -> np.ndarray:
        """The numbers of the training, held-out or all cells, in the order of the table."""
        return np.flatnonzero({"train": ~self.held, "heldout": self.held, "full": np.ones_like(self.held)}[cells])

    def counts(self, cells: Cells) -> np.ndarray:
        """(4,): how many of these cells each family has."""
        return np.bincount(self.family[self.members(cells)], minlength=len(DETERMINISTIC))

    def prior(self, cells: Cells) -> np.ndarray:
        """(C,) weights: equal over these cells, each family with members adding up to 1."""
        weights = np.zeros(len(self.table))
        members = self.members(cells)
        weights[members] = 1 / self.counts(cells)[self.family[members]]
        return weights


@lru_cache(maxsize=8)
def specification(name: Name, holdout: float = 0.15, length: int = 32) -> Spec:
    """The specification with its table filled for `length` >= 2 terms. `holdout` is the share of modular's cells kept from training; classic has none."""
    fold: Fold
    if name == "classic":
        fold, starts, holdout = clamp, np.arange(5), 0.0
        cells = [_grid(range(4)), _grid(range(9), range(1, 6)), _grid(range(1, 4), range(2, 4)), np.array([(a, a + 1) for a in range(33)])]
    else:
        fold, starts = wrap, np.arange(VALUES)
        pairs = _grid(range(VALUES), range(VALUES))
        # Steps and ratios 1 and 126 stay out: counting up or down, a constant, or two values in turn.
        cells = [_grid(range(VALUES)), _grid(range(VALUES), range(2, 126)), _grid(range(1, VALUES), range(2, 126)), pairs[pairs[:, 0] != pairs[:, 1]]]

    tables = [rule.terms(rows, length, fold).astype(np.int16) for rule, rows in zip(_RULES, cells, strict=True)]
    for table in tables:
        assert len(np.unique(table[:, :2], axis=0)) == len(table), "the first two terms must identify a cell"
    family = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    held = np.zeros(len(family), bool)
    for held_family in map(FAMILIES.index, HELD_FAMILIES):
        members = np.flatnonzero(family == held_family)
        rng = np.random.Generator(np.random.PCG64([_HOLDOUT_SEED, held_family]))
        held[rng.permutation(members)[: int(holdout * len(members))]] = True
    return Spec(name, holdout, np.concatenate(tables), family, held, Walk(starts, fold))


def _grid(*ranges: range) -> np.ndarray:
    """(C, number of ranges): every combination."""
    return np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, len(ranges))
