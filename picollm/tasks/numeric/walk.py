"""Random walk: each term is the last one plus a step drawn from {-1, 0, 1, 2}, kept inside 0..126.

At a border that stops the walk several steps lead to one term: the kernel adds them up.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from picollm.tasks.numeric.values import VALUES, Fold

STEPS = np.array([-1, 0, 1, 2])


@dataclass(frozen=True, eq=False)
class Walk:
    starts: np.ndarray  # (S,) equally likely first terms
    fold: Fold

    @cached_property
    def following(self) -> np.ndarray:
        """(127, 4): the term that each step leads to."""
        return self.fold(np.arange(VALUES)[:, None] + STEPS)

    @cached_property
    def kernel(self) -> np.ndarray:
        """(127, 127): the probability of the next term given the last."""
        kernel = np.zeros((VALUES, VALUES))
        np.add.at(kernel, (np.arange(VALUES)[:, None], self.following), 1 / len(STEPS))
        return kernel

    @cached_property
    def entropy(self) -> np.ndarray:
        """(127,) nats: how uncertain the next term is, given the last."""
        p = np.where(self.kernel > 0, self.kernel, 1.0)
        entropy: np.ndarray = -(p * np.log(p)).sum(1)
        return entropy

    @cached_property
    def first(self) -> np.ndarray:
        """(127,): the probability of the first term."""
        return np.bincount(self.starts, minlength=VALUES) / len(self.starts)

    def marginals(self, length: int) -> np.ndarray:
        """(length, 127): the probability of each value at each position."""
        rows = [self.first]
        for _ in range(length - 1):
            rows.append(rows[-1] @ self.kernel)
        return np.stack(rows)

    @cached_property
    def _jump(self) -> np.ndarray:
        return (self.following * len(STEPS)).ravel()

    def draw(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray:
        """(n, length) walks; all of them advance together, one look-up a position."""
        steps = rng.integers(len(STEPS), size=(length - 1, n))
        codes = np.empty((length, n), np.int64)  # value x 4, so that adding a step gives an index into the flat table
        codes[0] = self.starts[rng.integers(len(self.starts), size=n)] * len(STEPS)
        for t in range(length - 1):
            self._jump.take(codes[t] + steps[t], out=codes[t + 1], mode="clip")  # never clips: the mode that skips the copy
        return codes.T // len(STEPS)
