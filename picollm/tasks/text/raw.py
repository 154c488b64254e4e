"""The splits of a text as parquet files: text, whether the document ends with the row, bits where they are known, annotations of fables.

Of a mixture every source has files of its own, in a folder that has its name.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picollm.core.errors import UserError
from picollm.core.files import atomic, write_json
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import Document, pieces
from picollm.tasks.text.sources import Part, documents, minimal_pairs, parts

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
def writing(path: Path, config: Config) -> Iterator[Split]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    columns = {"text": pa.string(), "ends": pa.bool_()}
    columns |= {"bits": pa.float64()} if config.probability_known else {}
    columns |= {"annotations": pa.string()} if config.source == "fables" else {}
    with atomic(path) as temporary, ParquetWriter(temporary, pa.schema(columns), compression="zstd") as parquet:
        split = Split(parquet)
        yield split
        split.flush()


@dataclass
class Written:
    """A source, its files, and what there is to say about them."""

    part: Part
    splits: dict[str, Split]
    source: Any = field(default_factory=hashlib.sha256)  # of all documents, those left out included
    held: dict[bytes, float] = field(default_factory=dict)  # its documents of validation and test, and the probability of each
    removed: int = 0
    empty: int = 0

    def metrics(self) -> dict[str, Any]:
        counts = {name: {"documents": split.documents, "bytes": split.bytes} for name, split in self.splits.items()}
        metrics: dict[str, Any] = {"source_sha256": self.source.hexdigest(), "duplicates_removed": self.removed, "splits": counts}
        if self.empty:
            metrics["empty_documents"] = self.empty
        if self.part.config.probability_known:
            # What training lacks of the source's probability. Validation and test are unbiased draws: their floor is the source's own.
            metrics["removed_probability"] = sum(self.held.values())
            metrics["splits"] = {name: {**count, "floor_bits_per_byte": self.splits[name].bits / count["bytes"]} for name, count in counts.items()}
        return metrics


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Write out/[SOURCE/]SPLIT.parquet for each split, and out/pairs.json of fables; `out` has the task's name.

    Returns counts, the hash of the source, and floors where they are known.

    A training document that validation or test has too, of any source, is left out. Raises UserError when a split would be empty.
    """
    with ExitStack() as stack:
        every = [
            Written(part, {name: stack.enter_context(writing(out / part.name / f"{name}.parquet", part.config)) for name in config.splits})
            for part in parts(config, f"tasks.{out.name}")
        ]
        # Of several sources, all that is held out is known before the first training document.
        for wanted in [config.splits] if len(every) == 1 else [config.splits[1:], config.splits[:1]]:
            for written in every:
                _write(written, wanted, [other.held for other in every])
        for written in every:
            _check_filled(written.splits, written.part.path)
    if pairs := minimal_pairs(config):
        write_json(out / "pairs.json", pairs)
    if config.sources is None:
        return every[0].metrics()
    total = {name: {key: sum(getattr(written.splits[name], key) for written in every) for key in ("documents", "bytes")} for name in config.splits}
    return {"splits": total, "sources": {written.part.name: written.metrics() for written in every}}


def _write(written: Written, wanted: list[str], held: list[dict[bytes, float]]) -> None:
    for document in documents(written.part.config, written.part.path, wanted):
        if document.ends and not document.text.strip():
            written.empty += 1
            continue
        data = document.text.encode()
        digest = hashlib.sha256(data).digest()
        written.source.update(data + b"\0" * document.ends)
        if document.split == "train" and any(digest in other for other in held):
            written.removed += 1
            continue
        if document.split in ("validation", "test") and document.ends:  # training cannot tell the other held-out stories
            written.held[digest] = 2 ** -(document.bits or 0)
        written.splits[document.split].add(document)


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
