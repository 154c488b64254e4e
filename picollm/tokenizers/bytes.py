"""The 256 bytes of UTF-8: a vocabulary that needs no training and knows every text."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from picollm.core.errors import UserError
from picollm.tokenizers._shared import END, Base


class Tokenizer(Base):
    kind: ClassVar[str] = "bytes"
    vocab_size = 257

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        return cls()

    def encode_batch(self, texts: Sequence[str], parameter: str = "tokenizer.kind") -> list[np.ndarray]:
        try:
            return [np.frombuffer(text.encode(), np.uint8).astype(np.uint32) for text in texts]
        except UnicodeEncodeError as error:  # half of a surrogate pair, as a terminal makes of bytes that are not UTF-8
            raise UserError(f"{parameter}: {error.object[error.start]!r} is no character; give the text in UTF-8") from error

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(END.encode() if i == self.end else bytes([i]) for i in ids).decode(errors="replace")

    def spelled(self, ids: Iterable[int]) -> list[bytes]:
        return [b"" if i == self.end else bytes([i]) for i in ids]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls()
