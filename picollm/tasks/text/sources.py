"""The source that a task names, as a stream of documents: nothing here holds more than one of them."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

from picollm.core.errors import UserError, did_you_mean
from picollm.tasks.text import hub, local, three_sequences
from picollm.tasks.text.config import HELDOUT, Config, Source
from picollm.tasks.text.documents import Document, drawn, kept

SPLITS = ("train", "validation", "test", *HELDOUT)
PAIRS = 100  # of each category of sentences, at most
STORIES_A_PAIR = 100  # of the training: a small corpus has few pairs
APART = 10**9  # between the first stories of two splits: more stories in one never move another
NOTEBOOK = Path(__file__).parent / "notebook"
GENERATED = ("fables", "3seqs", "notebook")  # or shipped: what needs neither a file nor a network


def check(config: Config, task: str) -> None:
    """Raises UserError for a file or folder that is not there: better now than after an hour of other trainings."""
    for part in parts(config, task):
        documents(part.config, part.path, config.splits)  # none of them is asked for yet, so nothing is read


@dataclass(frozen=True)
class Part:
    """A source of a task."""

    name: str  # "" where the task has but one
    path: str  # the dotted path of its parameters
    config: Config  # a task of this source alone


def parts(config: Config, task: str) -> list[Part]:
    if config.sources is None:
        return [Part("", task, config)]
    own = [{field.name: getattr(source, field.name) for field in fields(Source)} for source in config.sources]
    alone = [replace(config, sources=None, **values) for values in own]
    return [Part(part.name, f"{task}.sources.{number}", part) for number, part in enumerate(alone)]


def documents(config: Config, task: str, wanted: Collection[str]) -> Iterator[Document]:
    """The documents of the splits that are `wanted`, of a task of one source.

    Of a source that comes with its splits, validation and test precede training, so that its copies of them can be left out.
    `task` is the dotted path of the task, for error messages. Raises UserError for a source that is missing or unreadable.
    """
    return (document for document in _documents(config, task, wanted) if document.split in wanted)


def _documents(config: Config, task: str, wanted: Collection[str]) -> Iterator[Document]:
    parameter = f"{task}.source"
    if config.source == "fables":
        return _fables(config, wanted)
    if config.source == "3seqs":
        lines = three_sequences.lines(config.seed, config.limit or three_sequences.LINES)
        return _split_by_hash((Document(text, "", bits=bits) for text, bits in lines), config)
    if config.source == "notebook":
        return _read(local.texts_below(NOTEBOOK, parameter), replace(config, lines=True))
    if config.source in hub.KNOWN:
        return hub.data_set(hub.KNOWN[config.source], config, parameter, wanted)
    if config.source.startswith(hub.PREFIX):
        return hub.data_set(config.source.removeprefix(hub.PREFIX), config, parameter, wanted)
    path = local.located(config.source)
    if path.is_dir():
        return _read(local.texts_below(path, parameter), config)
    if not path.is_file():
        raise UserError(f"{parameter}: no such file or folder {config.source!r} {did_you_mean(config.source, [*GENERATED, *hub.KNOWN, 'hub:NAME'])}")
    if config.lines:
        return _read([path], config)
    for name in ("limit", "share"):
        if getattr(config, name) != getattr(Source, name):
            raise UserError(f"{task}.{name}: a single file is one document; remove the parameter, or set lines: true")
    return local.one_file(path, config)


def _read(files: list[Path], config: Config) -> Iterator[Document]:
    texts = (line for file in files for line in local.lines_of(local.decoded(file))) if config.lines else local.whole(files)
    return _split_by_hash((Document(text, "") for text in islice(_share(texts, config), config.limit)), config)


def _share(texts: Iterable[str], config: Config) -> Iterator[str]:
    return (text for text in texts if kept(text, config.share, config.seed))


def _split_by_hash(found: Iterable[Document], config: Config) -> Iterator[Document]:
    shares = {split: getattr(config, split) for split in config.splits[1:]}
    return (replace(document, split=drawn(document.text, shares, config.seed)) for document in found)


def minimal_pairs(config: Config) -> list[dict[str, str]]:
    """Of a task whose only source is fables: right and wrong beginnings of stories, from stories that no split has."""
    from picollm.tasks.text import fables

    if config.source != "fables" or config.sources is not None:
        return []
    assert config.stories is not None
    return fables.pairs(config.seed, len(SPLITS) * APART, max(1, min(PAIRS, config.stories // STORIES_A_PAIR)))


def _fables(config: Config, wanted: Collection[str]) -> Iterator[Document]:
    from picollm.tasks.text import fables

    assert config.stories is not None
    for index, split in reversed(list(enumerate(SPLITS))):
        if split not in wanted:
            continue
        count = config.stories if split == "train" else max(1, round(config.stories * config.share_of(split)))
        for story in fables.told(split, config.seed, index * APART, count):
            yield Document(story.text, split, bits=story.bits, annotations=json.dumps(fables.annotations(story), separators=(",", ":")))
