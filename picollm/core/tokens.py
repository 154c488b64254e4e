"""Token files: one memory-mapped array of ids a split, and a JSON header that says what they are.

`rows` files hold sequences of equal length padded with the header's `pad` id (all tasks but text); `stream` files hold
one long run of ids, documents separated by the tokenizer's end token (text).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from picollm.core.errors import UserError
from picollm.core.files import atomic, read_json, sha256, write_json

FORMAT = 1


def write_split(folder: Path, name: str, chunks: Iterable[np.ndarray], vocab_size: int, row_length: int | None = None, **facts: Any) -> dict[str, Any]:
    """Write one split from an iterable of integer arrays, never holding more than one; returns its header entry.

    `facts` (bytes, documents, ...) go into the entry as they are. Raises UserError for an id outside the vocabulary.
    """
    dtype = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32).newbyteorder("<")
    count, digest = 0, hashlib.sha256()
    with atomic(folder / f"{name}.bin") as temporary, open(temporary, "wb") as file:
        for chunk in chunks:
            if chunk.size and (chunk.min() < 0 or chunk.max() >= vocab_size):
                raise UserError(
                    f"{folder}: split {name} has an id outside the vocabulary of {vocab_size} ({chunk.min()}..{chunk.max()}); its tokenizer does not fit"
                )
            data = np.ascontiguousarray(chunk, dtype).tobytes()
            file.write(data)
            digest.update(data)
            count += chunk.size
    return {"tokens": count, "row_length": row_length, "dtype": dtype.name, "sha256": digest.hexdigest(), **facts}


def write_header(folder: Path, *, kind: str, vocab_size: int, tokenizer: dict[str, Any], splits: dict[str, Any], **facts: Any) -> None:
    write_json(folder / "header.json", {"format": FORMAT, "kind": kind, "vocab_size": vocab_size, "tokenizer": tokenizer, "splits": splits, **facts})


@dataclass(frozen=True)
class TokenFolder:
    """An opened folder of token files; `split` maps a file into memory, where it need not fit."""

    folder: Path
    header: dict[str, Any]
    _known: set[str] = field(default_factory=set, repr=False, compare=False)  # splits that are what the header says

    @property
    def vocab_size(self) -> int:
        return int(self.header["vocab_size"])

    @property
    def digest(self) -> str:
        """One hash over all splits: the data's part of a run's fingerprint."""
        splits = self.header["splits"]
        mixed = json.dumps(splits["train"]["sources"]) if self.weights else ""  # weights decide what is drawn, and are in no split
        return hashlib.sha256(("".join(f"{name}{splits[name]['sha256']}" for name in sorted(splits)) + mixed).encode()).hexdigest()

    @property
    def weights(self) -> dict[str, float]:
        """{name: share of what is trained on} of a mixture's sources; empty without."""
        return {source["name"]: float(source["weight"]) for source in self.header["splits"].get("train", {}).get("sources", [])}

    def sources(self, name: str) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
        """(name, stream, facts) of each source of a split of text; of a task of one source that is "", all of it, and the split's entry."""
        stream, entry = self.split(name), self.header["splits"][name]
        found = [(source["name"], stream[source["start"] : source["end"]], source) for source in entry.get("sources", [])]
        return found or [("", stream, entry)]

    def split(self, name: str) -> np.ndarray:
        """(N,) ids of a stream, (N, L) of rows; read-only."""
        entry = self.header["splits"].get(name)
        if entry is None:
            raise UserError(f"{self.folder}: has no split '{name}' (it has {', '.join(self.header['splits'])})")
        path, dtype = self.folder / f"{name}.bin", np.dtype(entry["dtype"])
        size = path.stat().st_size if path.exists() else 0
        if size != entry["tokens"] * dtype.itemsize:
            raise UserError(
                f"{path}: {size} bytes where the header says {entry['tokens'] * dtype.itemsize}: truncated or foreign; remove {self.folder} and run dvc repro"
            )
        if name not in self._known and sha256(path) != entry["sha256"]:  # else ids of another task, or beyond the vocabulary
            raise UserError(f"{path}: is not the file that its header describes: damaged or foreign; remove {self.folder} and run dvc repro")
        self._known.add(name)
        if size == 0:
            return np.empty((0, entry["row_length"]) if entry["row_length"] else 0, dtype)
        array = np.memmap(path, dtype, mode="r")
        return array.reshape(-1, entry["row_length"]) if entry["row_length"] else array


def open_tokens(folder: Path) -> TokenFolder:
    header = read_json(folder / "header.json")
    if not isinstance(header, dict) or header.get("format") != FORMAT or not {"kind", "vocab_size", "tokenizer", "splits"} <= set(header):
        raise UserError(f"{folder / 'header.json'}: not a token header of format {FORMAT}; remove {folder} and run dvc repro")
    return TokenFolder(folder, header)
