"""One token per character of the training text, sorted by code point."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from picollm.core.errors import UserError
from picollm.tokenizers._shared import END, Base


class Tokenizer(Base):
    kind: ClassVar[str] = "chars"

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self.vocab_size = len(characters) + 1
        codes = _codes(characters)
        self.id_of = np.full(int(codes.max(initial=0)) + 2, self.end, np.uint32)  # the last entry: any code point beyond
        self.id_of[codes] = np.arange(len(codes), dtype=np.uint32)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls("".join(sorted(seen)))

    def encode_batch(self, texts: Sequence[str], parameter: str = "tokenizer.kind") -> list[np.ndarray]:
        return [self._encode(text, parameter) for text in texts]

    def _encode(self, text: str, parameter: str) -> np.ndarray:
        ids: np.ndarray = self.id_of[np.minimum(_codes(text), len(self.id_of) - 1)]
        unknown = np.flatnonzero(ids == self.end)
        if unknown.size:
            character = text[unknown[0]]
            raise UserError(
                f"{parameter}: chars knows only the training text, which has no {character!r} (U+{ord(character):04X}); take bpe or gpt2, or leave it out"
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(END if i == self.end else self.characters[i] for i in ids)

    def spelled(self, ids: Iterable[int]) -> list[bytes]:
        return [b"" if i == self.end else self.characters[i].encode() for i in ids]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["characters"])


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
