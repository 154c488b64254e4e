"""Parity: loss, accuracy, and how long a model keeps its state: the share of sequences without an error, and where the first one is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from picollm.core import statistics
from picollm.core.tokens import TokenFolder
from picollm.evaluation import _rows
from picollm.evaluation._rows import Scores, Split, tables

__all__ = ["evaluate", "summaries", "tables"]


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed, see _rows.evaluate; a split also has first_error. `context` is of texts only."""
    return _rows.evaluate(model, tokens, raw, _measure, batch_size, splits)


def _measure(split: Split, scores: Scores) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    return _rows.first_error(scores), {}


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds}, see _rows.summaries. `seeds`: {seed: result of evaluate}."""
    return _rows.summaries(seeds, {"never_wrong": ["first_error", "never"]})
