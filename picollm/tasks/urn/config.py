"""The parameters of an urn task: how many values, how unlike its sequences are, how many are in each set, how long they are."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from picollm.tasks._config import Lengths

STEPS = (-1, 0, 1, 2)  # those of numeric's walk
MOST_VALUES = 1024
ALPHAS = (0.01, 100.0)  # beyond: one step a sequence, or as good as a fair die


@dataclass(frozen=True, kw_only=True)
class Config(Lengths):
    """One entry under `tasks:`. The law of each sequence is drawn from a symmetric Dirichlet distribution."""

    longest_possible: ClassVar[int] = 4096  # the exact floor's accuracy takes time in proportion to the cube of it: 1 s for 1024

    kind: Literal["urn"]
    values: int = 16  # few: a model soon tells the steps apart, and what is left to learn is to count them
    alpha: float = 1.0  # of the Dirichlet distribution: 1 makes all laws equally likely
    train_lengths: list[int] = field(default_factory=lambda: [8, 64])
    long_lengths: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 1024])

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(STEPS) <= self.values <= MOST_VALUES:
            raise ValueError(f"values: must be from {len(STEPS)}, so that no two steps are one, to {MOST_VALUES}, not {self.values}")
        if not ALPHAS[0] <= self.alpha <= ALPHAS[1]:
            raise ValueError(f"alpha: {self.alpha} is no concentration to tell laws apart by; give one from {ALPHAS[0]} to {ALPHAS[1]}")

    @property
    def vocab_size(self) -> int:
        return self.values + 1
