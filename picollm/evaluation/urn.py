"""Walks of an unknown law: a trained model against Polya's urn, and how sure it is against how sure it should be."""

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
from picollm.tasks.urn.predictor import probabilities

__all__ = ["evaluate", "summaries", "tables"]


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed, see _rows.evaluate; a split also has worst_excess, entropy, bayes_entropy and calibration_error. `context` is of texts only."""
    facts = read_json(raw / "facts.json")
    return _rows.evaluate(model, tokens, raw, partial(_measure, facts["alpha"], facts["values"]), batch_size, splits)


def _measure(alpha: float, size: int, split: Split, scores: Scores) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    law = probabilities(alpha, split.ids, size)
    scored = ~np.isnan(scores.loss)
    return {**_rows.worst_position(scores), **_rows.calibration(scores[scored], -(law * np.log(law)).sum(-1)[scored])}, {}


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds}, see _rows.summaries. `seeds`: {seed: result of evaluate}."""
    return _rows.summaries(seeds, {name: [name] for name in ("worst_excess", "entropy", "bayes_entropy", "calibration_error")})
