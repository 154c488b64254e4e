"""The splits of a text as parquet files: text, whether the document ends with the row, and for fables bits and annotations."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from picollm.errors import UserError
from picollm.files import atomic
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import Document, pieces
from picollm.tasks.text.sources import documents

GROUP = 1 << 22  # characters of a row group: what writing and reading hold at once


class Split:
    """A split being written: rows are gathered into row groups, and counted."""

    def __init__(self, parquet: Any) -> None:
        self.parquet = parquet
        self.rows: dict[str, list[Any]] = {name: [] for name in parquet.schema.names}
        self.characters = self.documents = self.bytes = 0
        self.bits = 0.0
        self.inside = False  # a document that has not ended yet

    def add(self, document: Document) -> None:
        parts = list(pieces([document.text]))
        for number, text in enumerate(parts, 1):
            row = {"text": text, "ends": document.ends and number == len(parts), "bits": document.bits, "annotations": document.annotations}
            for name, values in self.rows.items():
                values.append(row[name])
            self.characters += len(text)
            self.bytes += len(text.encode())
            if self.characters >= GROUP:
                self.flush()
        self.documents += not self.inside
        self.inside = not document.ends
        self.bits += document.bits or 0

    def flush(self) -> None:
        import pyarrow as pa

        if self.rows["text"]:
            self.parquet.write_table(pa.table(self.rows, schema=self.parquet.schema))
        self.rows = {name: [] for name in self.rows}
        self.characters = 0


@contextmanager
def writing(path: Path, known: bool) -> Iterator[Split]:
    """`known`: the probability of each text is, and its annotations are."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    columns = {"text": pa.string(), "ends": pa.bool_()} | ({"bits": pa.float64(), "annotations": pa.string()} if known else {})
    with atomic(path) as temporary, ParquetWriter(temporary, pa.schema(columns), compression="zstd") as parquet:
        split = Split(parquet)
        yield split
        split.flush()


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Write out/SPLIT.parquet for each split; `out` has the task's name. Returns counts, the hash of the source, and for fables the floors.

    A training document that validation or test has too is left out. Raises UserError when a split would be empty.
    """
    task = f"tasks.{out.name}"
    known = config.source == "fables"
    source = hashlib.sha256()
    held: dict[bytes, float] = {}  # the documents of validation and test, and the probability of each
    removed = 0
    with ExitStack() as stack:
        splits = {name: stack.enter_context(writing(out / f"{name}.parquet", known)) for name in config.splits}
        for document in documents(config, task):
            if document.ends and not document.text.strip():
                continue
            data = document.text.encode()
            digest = hashlib.sha256(data).digest()
            source.update(data + b"\0" * document.ends)
            if document.split == "train" and digest in held:
                removed += 1
                continue
            if document.split != "train" and document.ends:
                held[digest] = 2 ** -(document.bits or 0)
            splits[document.split].add(document)
        _check_filled(splits, task)
    counts = {name: {"documents": split.documents, "bytes": split.bytes} for name, split in splits.items()}
    metrics: dict[str, Any] = {"source_sha256": source.hexdigest(), "duplicates_removed": removed, "splits": counts}
    if known:
        # What training lacks of the grammar's probability. Validation and test are unbiased draws: their floor is the grammar's own.
        metrics["removed_probability"] = sum(held.values())
        metrics["splits"] = {name: {**count, "floor_bits_per_byte": splits[name].bits / count["bytes"]} for name, count in counts.items()}
    return metrics


def _check_filled(splits: dict[str, Split], task: str) -> None:
    total = sum(split.documents for split in splits.values())
    if not total:
        raise UserError(f"{task}.source: holds no text; name another")
    for name, split in splits.items():
        if not split.bytes:
            raise UserError(
                f"{task}.{'validation' if name == 'train' else name}: its share of {total} documents leaves {name} empty; change the share, or use more text "
                "(a single file is split inside)"
            )
