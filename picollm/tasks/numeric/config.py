"""The parameters of a numeric task: which specification, how many sequences in each set, how long they are."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from picollm.config import STRICT

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe

LONGEST = 2**16 - 1  # lengths are stored in 16 bits
SHORTEST = 2  # the first term is never scored: one term alone would be a row without a target


@dataclass(frozen=True)
class Config:
    """One entry under `tasks:`. Sets have `train_lengths` uniform between its two ends; `holdout` is without effect on classic, which has no cells to spare."""

    __pydantic_config__: ClassVar = STRICT

    kind: Literal["numeric"]
    spec: Literal["classic", "modular"]
    train: int  # sequences
    validation: int
    test: int
    long: int  # sequences of each of the long lengths
    heldout: int = 0  # sequences of each family that has held-out cells: modular only
    long_lengths: list[int] = field(default_factory=lambda: [32, 48, 64, 128, 256, 512])
    train_lengths: list[int] = field(default_factory=lambda: [8, 32])
    holdout: float = 0.15  # share of modular's (start, step), (start, ratio), (a, b) cells
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "long"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} sequences; give at least 1")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout: {self.holdout} is no share of the cells; give 0 <= holdout < 1")
        if self.heldout < 0:
            raise ValueError(f"heldout: {self.heldout} sequences; give 0 or more")
        if self.heldout and self.spec == "classic":
            raise ValueError(f"heldout: {self.heldout} sequences, but classic has too few cells to hold any out; set it to 0 or take spec modular")
        if self.heldout and self.holdout < 0.001:
            raise ValueError(f"heldout: {self.heldout} sequences, but a holdout of {self.holdout} leaves no cells for them; raise holdout or set heldout to 0")
        if len(self.train_lengths) != 2 or not SHORTEST <= self.train_lengths[0] <= self.train_lengths[1]:
            raise ValueError(f"train_lengths: {self.train_lengths} is no range; give [shortest, longest] with {SHORTEST} <= shortest <= longest")
        if self.long_lengths != sorted(set(self.long_lengths)) or any(length < SHORTEST for length in self.long_lengths):
            raise ValueError(f"long_lengths: {self.long_lengths}; give different lengths from {SHORTEST} up, in rising order")
        if self.longest > LONGEST:
            name = "long_lengths" if self.longest in self.long_lengths else "train_lengths"
            raise ValueError(f"{name}: {self.longest} terms are too many; give at most {LONGEST}")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")

    def trained_length(self, recipe: "Recipe") -> int:
        """The tokens that a model is given at once: all of a sequence but its last term."""
        return self.train_lengths[1] - 1

    @property
    def longest(self) -> int:
        return max([self.train_lengths[1], *self.long_lengths])
