"""The splits of a text as token streams: end, document, end, document, ..., end.

The row groups of the raw files are encoded by as many processes as there are cores, and written in their order: one group a
process is in memory, and how many processes there are cannot be seen in the files. Sources of a mixture follow one another
in a stream; "sources" in a split's header entry says where each begins and ends, the end token between two belonging to both.

Beside the streams of validation and test stand, where documents are whole, SPLIT.offsets.npy (documents + 1,), so that document
i with both its end tokens is stream[offsets[i] : offsets[i + 1] + 1], SPLIT.bytes.npy, and SPLIT.bits.npy where the floor is known.
"""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from picollm.core import registry, tokens
from picollm.core.errors import UserError
from picollm.core.files import atomic, sha256
from picollm.core.parallel import Stream, cores, streaming
from picollm.tasks.text import raw as stored
from picollm.tasks.text.config import Config
from picollm.tokenizers import _shared
from picollm.tokenizers._shared import Base

SHORT = 4  # row groups of 4 million characters, at the least one for each split: not worth the start of a process


class Group(NamedTuple):
    """A row group of a raw file."""

    path: Path
    number: int


@dataclass(frozen=True)
class Encoded:
    """The rows of a group."""

    ids: np.ndarray  # of all rows, an end token after each that ends a document
    lengths: np.ndarray  # tokens of each row
    sizes: np.ndarray  # bytes of each row
    ends: np.ndarray  # whether the document ends with the row
    bits: np.ndarray | None  # of each row


@dataclass
class Span:
    """What a stream, or a source's part of it, holds."""

    start: int = 0
    end: int = 0  # in tokens
    documents: int = 0
    bytes: int = 0
    whole: bool = True  # are its documents?
    bits: float | None = None

    def facts(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "documents": self.documents, "whole": self.whole, "bits": self.bits}


def tokenize(config: Config, raw: Path, out: Path, processes: int | None = None) -> dict[str, Any]:
    """Train the tokenizer on the training split where it has something to learn, and encode all splits; returns counts, and floors per token.

    `processes`: as many as there are cores, unless the text is short.
    """
    groups = {split: {name: _groups(raw / name / f"{split}.parquet") for name in config.weights or [""]} for split in config.splits}
    count = sum(len(own) for split in groups.values() for own in split.values())
    # The workers are forked before a tokenizer is trained, whose threads a copy of this process must not have.
    with streaming(processes or (cores() if count > SHORT else 1)) as each:
        try:
            tokenizer = _trained(config, list(chain(*groups["train"].values())))
            tokenizer.save(out)
            splits = {split: _encode(tokenizer, groups[split], out, split, each) for split in config.splits}
        except UserError as error:
            if str(error).startswith("tokenizer."):
                raise UserError(f"tasks.{out.name}.{error}") from error
            raise
    if config.sources is not None:
        for entry in splits.values():
            entry["sources"] = [{**source, "weight": config.weights[source["name"]]} for source in entry["sources"]]
    else:
        for entry in splits.values():
            del entry["sources"]
    tokens.write_header(out, kind="text", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.to_json(), splits=splits, end=tokenizer.end)
    result: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "splits": {split: _metrics(entry) for split, entry in splits.items()}}
    if config.sources is not None:
        result["sources"] = {name: {"weight": weight, "splits": _shares(name, splits)} for name, weight in config.weights.items()}
    return result


def _trained(config: Config, groups: list[Group]) -> Base:
    """The tokenizer, learned from the training text: by bpe, of a text longer than its sample from groups spread evenly over it."""
    kind: type[Base] = registry.load("tokenizers", config.tokenizer.kind, "tokenizer.kind").Tokenizer
    if kind.smallest is not None:
        wanted = -(-config.tokenizer.sample // stored.GROUP)
        if len(groups) > wanted:
            groups = [groups[place] for place in np.linspace(0, len(groups) - 1, wanted).astype(int)]
    texts: Iterable[str] = (text for group in groups for text in _read(group, "text")["text"])
    return kind.train(_first(texts, config.tokenizer.sample) if kind.smallest is not None else texts, config.tokenizer.vocab_size)


def _first(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Of the texts, as many whole ones as begin within so many characters."""
    for text in texts:
        if characters <= 0:
            return
        yield text
        characters -= len(text)


@lru_cache(1)
def _tokenizer(folder: Path, digest: str) -> Base:
    """A worker's own: it is sent where the tokenizer lies and its hash, and not 50,000 merges with each group."""
    return _shared.load(folder)


def _encode_group(folder: Path, digest: str, group: Group) -> Encoded:
    tokenizer = _tokenizer(folder, digest)
    rows = _read(group)
    end = np.array([tokenizer.end], np.uint32)
    parts = [np.concatenate((ids, end)) if ends else ids for ids, ends in zip(tokenizer.encode_batch(rows["text"]), rows["ends"], strict=True)]
    return Encoded(
        np.concatenate(parts),
        np.array([len(part) for part in parts], np.int64),
        np.array([len(text.encode()) for text in rows["text"]], np.int64),
        np.array(rows["ends"], bool),
        np.array(rows["bits"], np.float64) if "bits" in rows else None,
    )


def _encode(tokenizer: Base, groups: dict[str, list[Group]], out: Path, split: str, each: Stream) -> dict[str, Any]:
    """Write one split; its header entry."""
    offsets, sizes, exact = array("q"), array("q"), array("d")  # of validation and test only: training may have very many
    spans: dict[str, Span] = {}
    encode = partial(_encode_group, out, sha256(out / "tokenizer.json"))

    def chunks() -> Iterator[np.ndarray]:
        end = np.array([tokenizer.end], np.uint32)
        length, ended = 0, False  # of the stream so far; whether an end token is its last
        for name, own in groups.items():
            if not ended:
                yield end
                length += 1
            span = spans[name] = Span(start=length - 1)
            begins = True  # does the next row begin a document?
            for encoded in each(encode, own):
                beginning = np.concatenate(([begins], encoded.ends[:-1]))
                begins = bool(encoded.ends[-1])
                span.documents += int(beginning.sum())
                span.bytes += int(encoded.sizes.sum())
                if encoded.bits is not None:
                    for value in encoded.bits:  # one by one: a sum of sums has other last bits
                        span.bits = (span.bits or 0.0) + float(value)
                if split != "train":
                    offsets.extend((length - 1 + np.concatenate(([0], np.cumsum(encoded.lengths)[:-1])))[beginning].tolist())
                    for size, first in zip(encoded.sizes.tolist(), beginning, strict=True):
                        if first:
                            sizes.append(0)
                        sizes[-1] += size
                    exact.extend([] if encoded.bits is None else encoded.bits.tolist())
                length += len(encoded.ids)
                yield encoded.ids
            span.end, span.whole, ended = length, begins, begins
        offsets.append(length - 1)

    entry = tokens.write_split(out, split, chunks(), tokenizer.vocab_size)
    for name, span in spans.items():
        if not span.documents:
            raise UserError(f"{groups[name][0].path if groups[name] else out / split}: holds no documents; run the stage that makes it again (dvc repro)")
    every = list(spans.values())
    known = [span.bits for span in every if span.bits is not None]
    total = Span(
        documents=sum(span.documents for span in every),
        bytes=sum(span.bytes for span in every),
        whole=all(span.whole for span in every),
        bits=sum(known) if len(known) == len(every) else None,
    )
    entry |= total.facts() | {"sources": [{"name": name, "start": span.start, "end": span.end, **span.facts()} for name, span in spans.items()]}
    if split != "train" and total.whole:
        arrays = {"offsets": np.array(offsets, np.int64), "bytes": np.array(sizes, np.int64)}
        arrays |= {"bits": np.array(exact, np.float64)} if total.bits is not None else {}
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


def _shares(name: str, splits: dict[str, Any]) -> dict[str, Any]:
    """What each split has of a source, and its share of the tokens as they are stored; training draws by weight."""
    result = {}
    for split, entry in splits.items():
        source = next(source for source in entry["sources"] if source["name"] == name)
        counts = {"tokens": source["end"] - source["start"] - 1, "bytes": source["bytes"], "documents": source["documents"]}
        result[split] = {**counts, "share": counts["tokens"] / sum(other["end"] - other["start"] - 1 for other in entry["sources"])}
    return result


def _groups(path: Path) -> list[Group]:
    from pyarrow.parquet import ParquetFile

    with _named(path), ParquetFile(path) as file:
        return [Group(path, number) for number in range(file.num_row_groups)]


def _read(group: Group, *columns: str) -> dict[str, list[Any]]:
    """{"text": [...], "ends": [...], perhaps "bits": [...]}, or only some of it."""
    from pyarrow.parquet import ParquetFile

    with _named(group.path), ParquetFile(group.path) as file:
        known = [name for name in columns or ("text", "ends", "bits") if name in file.schema_arrow.names]
        return dict(file.read_row_group(group.number, known, use_threads=False).to_pydict())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What goes wrong while it is read, in one line."""
    from pyarrow import ArrowInvalid

    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it (dvc repro)") from error
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: is damaged ({str(error).splitlines()[0]}); remove it and run the stage that makes it again") from error
