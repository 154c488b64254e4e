"""The parameters of a recall task: how many keys and values there are, how many pairs a sequence has, how long it is."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from picollm.tasks._config import Sets, check_rising

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe

TOKENS_PER_PAIR = 4  # key and value, later the key again and the filler after it
MOST_IDS = 2**15 - 1  # ids are stored in 16 bits with sign


@dataclass(frozen=True, kw_only=True)
class Config(Sets):
    """One entry under `tasks:`. Two axes lead beyond training, one at a time: longer sequences with as many pairs, and more pairs.

    Training, validation and test sequences all have `length` tokens, so that no batch has any padding.
    """

    own_targets: ClassVar[bool] = True

    kind: Literal["recall"]
    keys: int = 64
    values: int = 64
    pairs: list[int] = field(default_factory=lambda: [4, 16])  # of a sequence, uniform between the two ends
    length: int = 64  # tokens of a sequence
    long_lengths: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 1024])  # with as many pairs as in training
    more_pairs: list[int] = field(default_factory=lambda: [16, 32, 64])  # in 4 tokens a pair, or in `length` where that is longer

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("keys", "values"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} of them; give at least 1")
        if self.vocab_size > MOST_IDS:
            raise ValueError(f"keys: {self.keys} and {self.values} values are too many; give at most {MOST_IDS - 1} in all")
        if len(self.pairs) != 2 or not 1 <= self.pairs[0] <= self.pairs[1]:
            raise ValueError(f"pairs: {self.pairs} is no range; give [fewest, most] with 1 <= fewest <= most")
        check_rising("more_pairs", self.more_pairs, 1, "numbers")
        for name, most in (("pairs", self.pairs[1]), ("more_pairs", max(self.more_pairs, default=0))):
            if most > min(self.keys, self.values):
                raise ValueError(f"{name}: {most} pairs need as many keys and values, there are {self.keys} and {self.values}; lower it or give more of those")
            self.check_longest(name, TOKENS_PER_PAIR * most)
        if self.length < self.shortest:
            raise ValueError(f"length: {self.length} tokens do not hold {self.pairs[1]} pairs and their queries; give at least {self.shortest}")
        self.check_longest("length", self.length)

    @property
    def shortest(self) -> int:
        return TOKENS_PER_PAIR * self.pairs[-1] if self.pairs else TOKENS_PER_PAIR

    @property
    def vocab_size(self) -> int:
        """Keys, values, and the filler, which is the pad too: what follows the last query is one more gap."""
        return self.keys + self.values + 1

    def trained_length(self, recipe: "Recipe") -> int:
        return self.length

    def row_lengths(self) -> dict[str, int]:
        """Every split with its row length."""
        trained = dict.fromkeys(("train", "validation", "test"), self.length)
        longer = {f"length{length}": length for length in self.long_lengths}
        return {**trained, **longer, **{f"pairs{pairs}": max(self.length, TOKENS_PER_PAIR * pairs) for pairs in self.more_pairs}}
