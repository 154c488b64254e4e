"""The source that a task names, as a stream of documents: nothing here holds more than one of them."""

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from picollm.errors import UserError, did_you_mean
from picollm.tasks.text import hub, local
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import Document

APART = 10**9  # between the first stories of two splits: more stories in one never move another


def check(config: Config, task: str) -> None:
    """Raises UserError for a file or folder that is not there: better now than after an hour of other trainings."""
    documents(config, task)  # none of them is asked for yet, so nothing is read


def documents(config: Config, task: str) -> Iterator[Document]:
    """All documents. Of a source that comes with its splits, validation and test precede training, so that its copies of them can be left out.

    `task` is the dotted path of the task, for error messages. Raises UserError for a source that is missing or unreadable.
    """
    parameter = f"{task}.source"
    if config.source == "fables":
        return _fables(config)
    if config.source in hub.KNOWN:
        return hub.data_set(hub.KNOWN[config.source], config, parameter)
    if config.source.startswith(hub.PREFIX):
        return hub.data_set(config.source.removeprefix(hub.PREFIX), config, parameter)
    path = local.located(config.source)
    if path.is_dir():
        return local.folder(path, config, parameter)
    if not path.is_file():
        raise UserError(f"{parameter}: no such file or folder {config.source!r} {did_you_mean(config.source, ['fables', *hub.KNOWN, 'hub:NAME'])}")
    if config.limit is not None:
        raise UserError(f"{task}.limit: a single file is one document; remove the parameter")
    return local.one_file(path, config)


def _fables(config: Config) -> Iterator[Document]:
    from picollm.tasks.text import fables

    assert config.stories is not None
    for index, split in reversed(list(enumerate(config.splits))):
        count = config.stories if split == "train" else max(1, round(config.stories * getattr(config, split)))
        for story in fables.stories(config.seed, index * APART, count):
            yield Document(story.text, split, bits=story.bits, annotations=_annotations(story))


def _annotations(story: Any) -> str:
    """Everything that a story says beside its text and its bits, as JSON with named fields."""
    values = {field.name: getattr(story, field.name) for field in fields(story) if field.name not in ("text", "bits")}
    named = {name: [entry._asdict() for entry in value] if isinstance(value, tuple) else value for name, value in values.items()}
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))
