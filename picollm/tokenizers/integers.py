"""Integers as their own ids, the last of them reserved for padding."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from picollm.core.errors import UserError
from picollm.tokenizers._shared import Base


class Tokenizer(Base):
    kind: ClassVar[str] = "integers"
    spells_text: ClassVar[bool] = False

    def __init__(self, pad: int) -> None:
        self.vocab_size = pad + 1

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        assert vocab_size is not None, "the task knows its range"
        return cls(vocab_size - 1)

    def encode_batch(self, texts: Sequence[str], parameter: str = "tokenizer.kind") -> list[np.ndarray]:
        """The ids of "3 5 7" or "3, 5, 7"."""
        return [np.array([self._id(word, parameter) for word in text.replace(",", " ").split()], np.uint32) for text in texts]

    def _id(self, word: str, parameter: str) -> int:
        if not word.isdecimal() or int(word) >= self.end:
            raise UserError(f"{parameter}: {word!r} is outside the vocabulary; use integers from 0 to {self.end - 1}, separated by spaces")
        return int(word)

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(str(i) for i in ids)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "pad": self.end}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["pad"])
