"""What all tokenizers have in common: the end token as the last id, and a JSON form that rebuilds them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from picollm.core import registry
from picollm.core.files import read_json, write_json

END = "<|endoftext|>"  # how the end token is shown; the same characters in a text are ordinary ones


class Base(ABC):
    """Text to ids and back. The last id, `end`, stands before and after every document; no text encodes to it."""

    kind: ClassVar[str]
    spells_text: ClassVar[bool] = True  # any text, not only numbers
    smallest: ClassVar[int | None] = None  # the least vocab_size to ask for; None where it is not for the user to choose
    vocab_size: int

    @property
    def end(self) -> int:
        return self.vocab_size - 1

    @classmethod
    @abstractmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        """A tokenizer for `texts`, read once or, where there is nothing to learn, not at all."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str], parameter: str = "tokenizer.kind") -> list[np.ndarray]:
        """(N,) uint32 ids of each text, without end tokens. Raises UserError for what has no id; `parameter` is whom to blame."""

    def encode(self, text: str, parameter: str = "prompt") -> list[int]:
        ids: list[int] = self.encode_batch([text], parameter)[0].tolist()
        return ids

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; U+FFFD for what is not UTF-8, as at the edges of a window."""

    def spelled(self, ids: Iterable[int]) -> list[bytes]:
        """What each id spells; nothing for the end token. Joined, the UTF-8 of the text; one alone need not be whole characters."""
        raise NotImplementedError(f"{self.kind} spells no text")

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything `from_json` needs, "kind" included."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: dict[str, Any]) -> Self: ...

    def save(self, folder: Path) -> None:
        write_json(folder / "tokenizer.json", self.to_json())


def from_json(value: dict[str, Any]) -> Base:
    """The tokenizer that a header or a checkpoint carries, whatever its kind."""
    tokenizer: Base = registry.load("tokenizers", value.get("kind"), "tokenizer.kind").Tokenizer.from_json(value)
    return tokenizer


def load(folder: Path) -> Base:
    """What `save` wrote."""
    return from_json(read_json(folder / "tokenizer.json"))
