"""Fables of which the grammar knows what is what, in a run's tokens.

They are drawn anew, as many as are needed: stories of the test grammar, which training has next to no chance to have seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from picollm.analysis._result import Subject
from picollm.core.errors import UserError
from picollm.tasks.text import fables
from picollm.tasks.text.spans import in_tokens
from picollm.tokenizers._shared import from_json

SEED = 7
STORIES = 1500  # that are drawn: one in twenty has an agreement over a distance
TRIED = 50  # stories that a tokenizer must be able to spell: together they have every character


def without_fables(subject: Subject) -> str | None:
    """Why the run has nothing to do with fables, or its tokenizer cannot spell them; None if it can."""
    if not subject.is_text or not ((subject.raw / "pairs.json").exists() or "fables" in subject.tokens.weights):
        return "its data are no fables, of which alone the grammar is known"
    try:
        from_json(subject.tokens.header["tokenizer"]).encode_batch([story.text for story in fables.told("test", SEED, 0, TRIED)])
    except UserError as error:
        return f"its tokenizer cannot spell the fables ({error})"
    return None


@dataclass(frozen=True, eq=False)
class Annotated:
    """Stories as rows of tokens, each after an end token and padded with it; the truth of each, with spans counted in the row's tokens."""

    ids: np.ndarray  # (N, T)
    lengths: np.ndarray  # (N,) tokens, the end token in front included
    truth: list[dict[str, Any]]


def annotated(subject: Subject, wanted: Sequence[Callable[[dict[str, Any]], bool]], each: int) -> Annotated | None:
    """For everything wanted the `each` shortest of STORIES stories whose truth (see tasks/text/fables/truth.py) has it; None if none fits into the model."""
    tokenizer, limit = from_json(subject.tokens.header["tokenizer"]), subject.model.max_length
    stories = list(fables.told("test", SEED, 0, STORIES))
    encoded = tokenizer.encode_batch([story.text for story in stories])
    truths = [fables.annotations(story) for story in stories]
    order = [i for i in np.argsort([len(ids) for ids in encoded], kind="stable") if limit is None or len(encoded[i]) < limit]
    chosen: dict[int, None] = {}
    for has in wanted:
        chosen |= dict.fromkeys(islice((i for i in order if has(truths[i])), each))
    if not chosen:
        return None
    rows = [[tokenizer.end, *encoded[i].tolist()] for i in chosen]
    lengths = np.array([len(row) for row in rows])
    ids = np.array([row + [tokenizer.end] * (lengths.max() - len(row)) for row in rows], np.int64)
    return Annotated(ids, lengths, [_behind_end(in_tokens(truths[i], stories[i].text, tokenizer)) for i in chosen])


def _behind_end(value: Any) -> Any:
    """Every span one token later: spans are [start, end) or {"start", "end"}."""
    if isinstance(value, dict):
        return {name: entry + 1 if name in ("start", "end") else _behind_end(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [entry + 1 for entry in value] if len(value) == 2 and all(isinstance(entry, int) for entry in value) else [_behind_end(entry) for entry in value]
    return value
