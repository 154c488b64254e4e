"""When a number leaves for good what untrained models show, along the checkpoints of a training.

Shapes: S checkpoints, K numbers.
"""

from dataclasses import dataclass

import numpy as np

from picollm.analysis._nulls import permutations
from picollm.analysis._result import Estimate, estimate

SEED = 10


@dataclass(frozen=True, eq=False)
class Course:
    """One number at every checkpoint."""

    steps: np.ndarray  # (S,) ascending
    value: np.ndarray  # (S,)
    low: np.ndarray  # (S,) the ends of its interval
    high: np.ndarray
    null: np.ndarray  # of untrained models

    @property
    def range(self) -> tuple[float, float]:
        """The central 95 % of untrained models."""
        low, high = np.quantile(self.null, [0.025, 0.975], method="inverted_cdf")
        return float(low), float(high)

    def leaves(self) -> "Leaving | None":
        """None for a number that ends within the range of untrained models."""
        low, high = self.range
        above = self.value[-1] > high
        if not above and not self.value[-1] < low:
            return None
        outside = (lambda values: values > high) if above else (lambda values: values < low)
        nearer, further = (self.low, self.high) if above else (self.high, self.low)  # the end of the interval that leaves last, and first
        steps = [0, *self.steps.tolist()]
        first, found, last = (_for_good(outside(values)) for values in (further, self.value, nearer))
        middle = (self.null.mean() + self.value[-1]) / 2
        half = _for_good(self.value >= middle if above else self.value <= middle)
        return Leaving(*(int(steps[min(place, len(steps) - 1)]) for place in (found + 1, first, last + 1, half + 1)))

    def lasting(self) -> Estimate | None:
        """The share of the training over which the number is out of the range; in shuffled order it would be out by chance later, or never."""
        found = self.leaves()
        if found is None:
            return None
        whole = max(1, int(self.steps[-1]))
        shuffled = []
        for order in permutations(len(self.steps), SEED):
            other = Course(self.steps, self.value[order], self.low[order], self.high[order], self.null).leaves()
            shuffled.append(1 - other.step / whole if other else 0.0)
        ends = {"low": 1 - found.latest / whole, "high": 1 - found.earliest / whole}
        facts = {"step": found.step, "step_low": found.earliest, "step_high": found.latest, "half": found.half}
        return estimate(1 - found.step / whole, len(self.steps), {"shuffled": np.array(shuffled)}, **ends, **facts)


@dataclass(frozen=True)
class Leaving:
    """The first checkpoint from which on a number is outside; it may have been so since the one before, or surely only later."""

    step: int
    earliest: int  # the last checkpoint at which the whole interval was not outside yet
    latest: int  # the first from which on all of the interval is; the last of all where it never is
    half: int  # the first from which on it is halfway from untrained models to what it becomes


def _for_good(outside: np.ndarray) -> int:
    """(S,) -> the first place from which on all are True; S where the last is not."""
    inside = np.flatnonzero(~outside)
    return int(inside[-1]) + 1 if len(inside) else 0
