"""Data sets of the Hugging Face hub, through `datasets`; a folder of parquet or JSON lines in place of a name is read the same way."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from picollm.core.errors import UserError, did_you_mean
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import Document, drawn, kept
from picollm.tasks.text.local import lines_of, located

PREFIX = "hub:"
WIKITEXT = "Salesforce/wikitext"
KNOWN = {"tinystories": "roneneldan/TinyStories", "wikitext-103": f"{WIKITEXT}:wikitext-103-raw-v1", "wikipedia": "wikimedia/wikipedia:20231101.en"}
PATIENCE = 5.0  # seconds; `datasets` itself tries for 23 before it says that there is no network
TITLE = re.compile(r" = [^=].* = ?\n?")  # of an article; its sections have more signs


def data_set(source: str, config: Config, parameter: str, wanted: Collection[str]) -> Iterator[Document]:
    """The documents of `NAME` or `NAME:CONFIG`, validation and test first. A row is a document; in wikitext, where it is a line, an article is."""
    name, _, subset = source.partition(":")
    sets = _load(name, subset or None, parameter)
    if "train" not in sets:
        raise UserError(f"{parameter}: {source} has no split 'train' (it has {', '.join(sets)}); take another data set")
    shares = {split: getattr(config, split) for split in config.splits[1:] if split not in sets}
    for split in reversed(config.splits):
        if split not in sets or not {split, *(shares if split == "train" else ())} & set(wanted):
            continue
        texts = _column(sets[split], config.text_column, parameter)
        if config.lines:
            texts = (line for text in texts for line in lines_of([text]))
        elif name == WIKITEXT:
            texts = articles(texts)
        if split == "train":
            texts = (text for text in texts if kept(text, config.share, config.seed))
        for text in islice(texts, config.limit):
            yield Document(text, drawn(text, shares, config.seed) if split == "train" else split)


def articles(lines: Iterable[str]) -> Iterator[str]:
    """Wikitext's lines put together to its articles."""
    article: list[str] = []
    for line in lines:
        if TITLE.fullmatch(line) and "".join(article).strip():
            yield "".join(article)
            article = []
        article.append(line)
    if article:
        yield "".join(article)


def _column(rows: Any, column: str, parameter: str) -> Iterator[str]:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        for row in rows:
            if not isinstance(row.get(column, 0), str | None):
                texts = [name for name, value in row.items() if isinstance(value, str)]
                raise UserError(f"{parameter.rpartition('.')[0]}.text_column: {column!r} is no column of text {did_you_mean(column, texts)}")
            yield row[column] or ""
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        raise error if isinstance(error, UserError) else UserError(f"{parameter}: cannot be read ({_first_line(error)})") from error


def _load(name: str, subset: str | None, parameter: str) -> dict[str, Any]:
    """{split: rows}. What is read is streamed, and no more; without a network a data set is looked for in the cache of `datasets`."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    path = located(name)
    try:
        if path.is_dir():
            return dict(datasets.load_dataset(str(path), subset, streaming=True))
        with _offline_unless_reachable(name, parameter) as reachable:
            return dict(datasets.load_dataset(name, subset, streaming=reachable))
    except UserError:
        raise
    except DatasetNotFoundError as error:
        raise _unknown(name, parameter) from error
    except ConnectionError as error:
        raise UserError(
            f"{parameter}: {name} is not in the cache and the hub cannot be reached; run with a network (DVC keeps what was read), or take fables or a path"
        ) from error
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(f"{parameter}: {_first_line(error)}") from error


@contextmanager
def _offline_unless_reachable(name: str, parameter: str) -> Iterator[bool]:
    """Ask the hub for the data set once; when it does not answer in time, only the cache is looked at. Yields whether it did."""
    import datasets
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # whichever version it is built on

    offline = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    try:
        HfApi().dataset_info(name, timeout=PATIENCE)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _unknown(name, parameter) from error
    except (httpx.HTTPError, OSError):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = offline


def _unknown(name: str, parameter: str) -> UserError:
    known = [full.partition(":")[0] for full in KNOWN.values()]
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]}? else " if guess else ""
    return UserError(f"{parameter}: no data set {name!r} on the hub, or a private one; {hint}check the spelling (OWNER/NAME), or set HF_TOKEN")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
