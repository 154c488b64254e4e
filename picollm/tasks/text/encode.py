"""The splits of a text as token streams: end, document, end, document, ..., end.

Beside the streams of validation and test stand, where documents are whole, SPLIT.offsets.npy (documents + 1,), so that document
i with both its end tokens is stream[offsets[i] : offsets[i + 1] + 1], SPLIT.bytes.npy, and SPLIT.bits.npy where the floor is known.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from picollm import registry, tokens
from picollm.errors import UserError
from picollm.files import atomic
from picollm.tasks.text.config import Config
from picollm.tokenizers._shared import Base


def tokenize(config: Config, raw: Path, out: Path) -> dict[str, Any]:
    """Train the tokenizer on the training split where it has something to learn, and encode all splits; returns counts, and floors per token."""
    try:
        kind: type[Base] = registry.load("tokenizers", config.tokenizer.kind, "tokenizer.kind").Tokenizer
        tokenizer = kind.train((text for group in _groups(raw, "train") for text in group["text"]), config.tokenizer.vocab_size)
        splits = {split: _encode(tokenizer, raw, out, split) for split in config.splits}
    except UserError as error:
        if str(error).startswith("tokenizer."):
            raise UserError(f"tasks.{out.name}.{error}") from error
        raise
    tokens.write_header(out, kind="text", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.to_json(), splits=splits, end=tokenizer.end)
    tokenizer.save(out)
    return {"vocab_size": tokenizer.vocab_size, "splits": {split: _metrics(entry) for split, entry in splits.items()}}


def _encode(tokenizer: Base, raw: Path, out: Path, split: str) -> dict[str, Any]:
    """Write one split; its header entry."""
    documents = size = 0
    bits = 0.0
    whole = True
    offsets, sizes, exact = array("q"), array("q"), array("d")  # of validation and test only: training may have very many

    def chunks() -> Iterator[np.ndarray]:
        nonlocal documents, size, bits, whole
        end = np.array([tokenizer.end], np.uint32)
        yield end
        length, begins = 1, True  # of the stream so far; whether the next row begins a document
        for group in _groups(raw, split):
            parts = []
            for ids, text, ends in zip(tokenizer.encode_batch(group["text"]), group["text"], group["ends"], strict=True):
                documents += begins
                if split != "train":
                    if begins:
                        offsets.append(length - 1)
                        sizes.append(0)
                    sizes[-1] += len(text.encode())
                size += len(text.encode())
                length += len(ids) + ends
                begins = ends
                parts += [ids, end] if ends else [ids]
            for value in group.get("bits", []):
                bits += value
                if split != "train":
                    exact.append(value)
            yield np.concatenate(parts)
        offsets.append(length - 1)
        whole = begins

    entry = tokens.write_split(out, split, chunks(), tokenizer.vocab_size)
    if not documents:
        raise UserError(f"{raw / f'{split}.parquet'}: holds no documents; run the stage that makes it again (dvc repro)")
    entry |= {"bytes": size, "documents": documents, "whole": whole, "bits": bits if exact or bits else None}
    if split != "train" and whole:
        arrays = {"offsets": np.array(offsets, np.int64), "bytes": np.array(sizes, np.int64)} | ({"bits": np.array(exact, np.float64)} if exact else {})
        for name, values in arrays.items():
            with atomic(out / f"{split}.{name}.npy") as temporary, open(temporary, "wb") as file:
                np.save(file, values, allow_pickle=False)
    return entry


def _metrics(entry: dict[str, Any]) -> dict[str, Any]:
    result = {name: entry[name] for name in ("tokens", "bytes", "documents")}
    result["tokens_per_byte"] = entry["tokens"] / entry["bytes"]
    if entry["bits"] is not None:
        result["floor_bits_per_token"] = entry["bits"] / (entry["tokens"] - 1)  # nothing predicts the first token
    return result


def _groups(raw: Path, split: str) -> Iterator[dict[str, list[Any]]]:
    """The row groups of a split: {"text": [...], "ends": [...], perhaps "bits": [...]}."""
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    path = raw / f"{split}.parquet"
    try:
        with ParquetFile(path) as file:
            columns = [name for name in ("text", "ends", "bits") if name in file.schema_arrow.names]
            for number in range(file.num_row_groups):
                yield file.read_row_group(number, columns).to_pydict()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it (dvc repro)") from error
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: is damaged ({str(error).splitlines()[0]}); remove it and run the stage that makes it again") from error
