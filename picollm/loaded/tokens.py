"""A token of a text as a model saw it coming; and how ids are spelled, one after the other.

Shapes: T tokens, V vocabulary.
"""

import codecs
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from picollm.tokenizers._shared import Base

TOP = 8  # alternatives that a token is shown with
Label = Callable[[int], str]  # a token by itself


@dataclass(frozen=True)
class Token:
    """A token as the model saw it coming.

    >>> Token(5, "5", probability=0.25).bits
    2.0
    """

    id: int
    text: str  # what it adds: nothing while a character is not complete, then all of it
    probability: float | None = None  # given all tokens before it; None where there is none
    likeliest: tuple[tuple[str, float], ...] = ()  # what could have come here, and how probable the model held it
    floor_bits: float | None = None  # of the exact predictor, infinite for what the task never has; None where it is not known
    ends: bool = False  # the text, and is not part of it

    @property
    def bits(self) -> float | None:
        if self.probability is None:
            return None
        return -math.log2(self.probability) if self.probability else math.inf

    def data(self) -> dict[str, Any]:
        """As JSON, which has no infinity."""
        return {**asdict(self), "bits": finite(self.bits), "floor_bits": finite(self.floor_bits), "impossible": self.floor_bits == math.inf}


def finite(bits: float | None) -> float | None:
    return bits if bits is not None and math.isfinite(bits) else None


class Speller:
    """Ids to text, as they come: a character in several tokens comes with its last one."""

    def __init__(self, coder: Base) -> None:
        self.coder, self.decoder = coder, codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int, last: bool = False) -> str:
        if not self.coder.spells_text:
            return "" if token == self.coder.end else self.coder.decode([token])
        return self.decoder.decode(self.coder.spelled([token])[0], last)


def seen(label: Label, logits: Tensor, token: int) -> tuple[float, tuple[tuple[str, float], ...]]:
    """The probability of `token` under (V,) logits, and the likeliest tokens, of equals the lower id first."""
    probabilities = logits.double().softmax(-1)
    order = probabilities.argsort(descending=True, stable=True)[:TOP].tolist()
    return float(probabilities[token]), tuple((label(other), float(probabilities[other])) for other in order)


def spelled(coder: Base, label: Label, ids: Sequence[int], logits: Tensor, start: int, floors: Sequence[float | None]) -> Iterator[Token]:
    """The tokens of `ids` from `start` on, predicted by (T - 1, V) `logits`: row t after token t. `floors` are bits of all ids."""
    speller = Speller(coder)
    for place in range(start, len(ids)):
        text, ends = speller.add(ids[place], place == len(ids) - 1), ids[place] == coder.end
        if place == 0:
            yield Token(ids[place], text, floor_bits=floors[place])
        else:
            yield Token(ids[place], text, *seen(label, logits[place - 1], ids[place]), floors[place], ends)
