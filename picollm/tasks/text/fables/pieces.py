"""What a sentence is made of: tuples called pieces, and the distributions that choose among them."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import log2
from typing import Any

# Pieces are tuples that start with one of these:
# (LITERAL, text, text with a capital), (PRINT, slot, form), (REFER, slot, form), (CHOICE, choice), (SPAN, label, character or None, pieces), (CAPITAL,)
# PRINT draws the variable if nobody has; REFER, a pronoun's gender, never does.
LITERAL, PRINT, REFER, CHOICE, SPAN, CAPITAL = range(6)
Piece = tuple[Any, ...]
Pieces = tuple[Piece, ...]
Env = Sequence[Any] | Mapping[int, Any]

MENTIONS = ("name", "pronoun", "description")
MOVING = ("name", "description")  # the mentions after which the pronoun of their gender refers to their character


@dataclass(frozen=True, eq=False)
class Table:
    """A distribution ready to draw from."""

    options: tuple[Any, ...]
    weights: tuple[float, ...]

    @cached_property
    def p(self) -> tuple[float, ...]:
        total = sum(self.weights)
        return tuple(weight / total for weight in self.weights)

    @cached_property
    def bits(self) -> tuple[float, ...]:
        return tuple(-log2(p) for p in self.p)

    @cached_property
    def entropy(self) -> float:
        return sum(p * bits for p, bits in zip(self.p, self.bits, strict=True))

    @cached_property
    def steps(self) -> tuple[float, ...]:
        return tuple(accumulate(self.p))[:-1]  # the last step is 1 whatever the rounding

    def index(self, uniform: float) -> int:
        return bisect_right(self.steps, uniform)


@dataclass(frozen=True)
class Condition:
    """`-crowd`: not drawn yet; `crowd`: drawn; `focus`: the character's pronoun would refer to it."""

    slot: int
    wanted: bool = True
    character: str | None = None

    def holds(self, env: Env) -> bool:
        if self.character is None:
            return (env[self.slot] is not None) == self.wanted
        gender = env[self.slot]
        return gender is not None and env[gender.focus] == self.character


class Choice:
    """Weighted options, some of them only under conditions; the weights of those that remain are normalised."""

    def __init__(self, options: Sequence[Any], weights: Sequence[float] = (), conditions: Sequence[tuple[Condition, ...]] = ()) -> None:
        self.options = tuple(options)
        self.weights = tuple(weights) or (1.0,) * len(self.options)
        self.conditions = tuple(conditions) or ((),) * len(self.options)
        self.tests = tuple(dict.fromkeys(test for tests in self.conditions for test in tests))
        self._tables: dict[tuple[bool, ...], Table] = {}
        self.always = None if self.tests else Table(self.options, self.weights)

    def table(self, env: Env) -> Table:
        if self.always is not None:
            return self.always
        key = tuple([test.holds(env) for test in self.tests])
        table = self._tables.get(key)
        if table is None:
            truth = dict(zip(self.tests, key, strict=True))
            kept = [i for i, tests in enumerate(self.conditions) if all(truth[test] for test in tests)]
            assert kept, f"no option is left of {self.options}"
            table = self._tables[key] = Table(tuple(self.options[i] for i in kept), tuple(self.weights[i] for i in kept))
        return table
