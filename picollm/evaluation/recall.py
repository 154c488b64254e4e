"""Associative recall: loss and accuracy at the queries, on longer sequences, with more pairs, and by the distance to what is recalled.

Shapes: N sequences, L tokens.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from picollm.core import statistics
from picollm.core.files import read_json
from picollm.core.tokens import TokenFolder
from picollm.evaluation import _rows
from picollm.evaluation._rows import Scores, Split, tables

__all__ = ["evaluate", "summaries", "tables"]


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed, see _rows.evaluate; and "pairs": {number: {...}}. `context` is of texts only.

    A split also has first_error (the first query that is answered wrongly) and "families": by octaves of the distance between
    a key and its query, in tokens, "distance 8-15".
    """
    return _rows.evaluate(model, tokens, raw, partial(_measure, read_json(raw / "facts.json")["keys"]), batch_size, splits)


def _measure(keys: int, split: Split, scores: Scores) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    octave = np.frexp(distances(split.ids, ~np.isnan(scores.loss)))[1]  # (N, L): a distance in [2^(e - 1), 2^e) has e, none has 0
    families = {f"distance {2 ** (e - 1)}-{2**e - 1}": _rows.means(scores[octave == e]) for e in np.unique(octave[octave > 0]).tolist()}
    return {**_rows.first_error(scores), "families": families}, {}


def distances(ids: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(N, L) ids and where the queries are -> (N, L) tokens since the same id came first, 0 elsewhere."""
    N, L = ids.shape
    first = np.zeros((N, ids.max() + 1), np.int64)
    for t in range(L - 1, -1, -1):  # the earliest is written last
        first[np.arange(N), ids[:, t]] = t
    return np.where(asked, np.arange(L) - np.take_along_axis(first, ids, 1), 0)


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds}, see _rows.summaries. `seeds`: {seed: result of evaluate}."""
    return _rows.summaries(seeds, {"never_wrong": ["first_error", "never"]})
