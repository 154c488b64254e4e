"""The parameters that all tasks of number sequences have: how many sequences are in each stored set, and how long they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from picollm.core.config import STRICT

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe

LONGEST = 2**16 - 1  # lengths are stored in 16 bits


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What an entry under `tasks:` has whatever its kind; `long` sequences come at each of `long_lengths`."""

    __pydantic_config__: ClassVar = STRICT
    own_targets: ClassVar[bool] = False  # a target of its own for each term, where others predict the next term
    longest_possible: ClassVar[int] = LONGEST

    kind: str
    train: int  # sequences
    validation: int
    test: int
    long: int  # sequences of each of the long lengths
    long_lengths: list[int]
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "long"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} sequences; give at least 1")
        check_rising("long_lengths", self.long_lengths, self.shortest, "lengths")
        self.check_longest("long_lengths", *self.long_lengths)
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")

    def check_longest(self, name: str, *lengths: int) -> None:
        if max(lengths, default=0) > self.longest_possible:
            raise ValueError(f"{name}: {max(lengths)} terms are too many; give at most {self.longest_possible}")

    @property
    def shortest(self) -> int:
        """The fewest terms that make a sequence."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        raise NotImplementedError

    @property
    def pad(self) -> int:
        """The last id fills rows up to their length, and is never a target."""
        return self.vocab_size - 1


@dataclass(frozen=True, kw_only=True)
class Lengths(Sets):
    """A task whose training and test sequences are uniform in length between the two ends of `train_lengths`."""

    train_lengths: list[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.train_lengths) != 2 or not self.shortest <= self.train_lengths[0] <= self.train_lengths[1]:
            raise ValueError(f"train_lengths: {self.train_lengths} is no range; give [shortest, longest] with {self.shortest} <= shortest <= longest")
        self.check_longest("train_lengths", *self.train_lengths)

    @property
    def unscored(self) -> int:
        """The terms at the start of a sequence that are no target."""
        return 0 if self.own_targets else 1

    @property
    def shortest(self) -> int:
        return self.unscored + 1  # or it would be a row without a target

    def trained_length(self, recipe: "Recipe") -> int:
        """The tokens that a model is given at once: those that are followed by a target."""
        return self.train_lengths[1] - self.unscored

    @property
    def longest(self) -> int:
        return max([self.train_lengths[1], *self.long_lengths])


def check_rising(name: str, values: list[int], least: int, what: str) -> None:
    """Raises ValueError unless `values` are different, in rising order, and none below `least`."""
    if values != sorted(set(values)) or any(value < least for value in values):
        raise ValueError(f"{name}: {values}; give different {what} from {least} up, in rising order")
