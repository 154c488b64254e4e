"""The sequences that a model is shown: stored ones of a family, windows of a text, the user's prompt.

Shapes: N sequences, T terms or tokens.
"""

import numpy as np

from picollm.analysis._result import Subject
from picollm.core.errors import UserError
from picollm.core.files import read_json
from picollm.tasks.numeric.sets import load
from picollm.tokenizers._shared import from_json

TEST = "test"
NO_TYPES = "the task has no sequence types"


def families(subject: Subject) -> list[str]:
    """The sequence types of a numeric task, in the order of the stored family numbers; other tasks have none."""
    return [str(name) for name in read_json(subject.raw / "facts.json").get("families", [])]


def sequences(subject: Subject, family: str, most: int, split: str | None = None) -> np.ndarray:
    """(N, T) ids: up to `most` stored sequences of the family, cut to options.length, no two alike: repeats would make n a lie.

    From the test split, or where its rows are too short from a longer set. Raises UserError when no sequence is long enough.
    """
    known, length = families(subject), subject.options.length
    _check_length(subject, length)
    split = split or _split(subject, length)
    members = np.flatnonzero((load(subject.raw, split, "family") == known.index(family)) & (load(subject.raw, split, "length") >= length))
    if not len(members):
        raise UserError(f"interpret.length: no {family} sequence of split '{split}' has {length} terms; lower it, or generate more sequences")
    rows = load(subject.raw, split, "values")[members, :length]
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)[:most]].astype(np.int64)


def _split(subject: Subject, length: int) -> str:
    """The test split, or if its rows are too short the shortest of the longer sets that will do."""
    splits = read_json(subject.raw / "facts.json")["splits"]
    sets = {name: entry["row_length"] for name, entry in splits.items() if name == TEST or name.startswith("length")}
    enough = [name for name in sorted(sets, key=lambda name: (sets[name], name != TEST)) if sets[name] >= length]
    if not enough:
        raise UserError(f"interpret.length: {length} terms, the longest stored sequences have {max(sets.values())}; lower it")
    return str(enough[0])


def windows(subject: Subject, most: int) -> np.ndarray:
    """(N, T) ids: windows of options.length tokens spread evenly over a text's test split."""
    stream, length = subject.tokens.split(TEST), subject.options.length
    _check_length(subject, length)
    if len(stream) < length:
        raise UserError(f"interpret.length: {length} tokens, the {TEST} split has {len(stream)}; lower it")
    starts = np.linspace(0, len(stream) - length, min(most, len(stream) // length)).astype(np.int64)
    return np.asarray(stream[starts[:, None] + np.arange(length)], np.int64)


def token_counts(subject: Subject, most: int = 2_000_000) -> np.ndarray:
    """(V,): how often each token stands in the training text, or in its first `most` tokens: enough to rank them."""
    return np.bincount(subject.tokens.split("train")[:most], minlength=subject.model.vocab_size)


def prompt(subject: Subject) -> np.ndarray:
    """(T,) ids of options.prompt, after the end token that every document of the training text follows (a single file has no end)."""
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    begin = [tokenizer.end] if subject.tokens.header["splits"]["train"]["whole"] else []
    ids = np.array([*begin, *tokenizer.encode(subject.options.prompt, "interpret.prompt")], np.int64)
    _check_length(subject, len(ids), "interpret.prompt")
    return ids


def spellings(subject: Subject, ids: np.ndarray) -> list[str]:
    """The text of each token by itself."""
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    return [tokenizer.decode([int(token)]) for token in ids]


def _check_length(subject: Subject, length: int, parameter: str = "interpret.length") -> None:
    limit = subject.model.max_length
    if limit is not None and length > limit:
        raise UserError(f"{parameter}: {length} tokens, the model's table of positions ends at {limit}; shorten it")
