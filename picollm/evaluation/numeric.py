"""Numeric sequences: a trained model against the exact predictor, by family of sequences; where sequences that are known fail, and how sure it is of walks."""

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
from picollm.tasks.numeric.floors import IDENTIFIED
from picollm.tasks.numeric.predictor import log_prefixes
from picollm.tasks.numeric.spec import FAMILIES, HELD_FAMILIES, WALK, Spec, specification

__all__ = ["evaluate", "summaries", "tables"]

KNOWN = IDENTIFIED - 1  # the column in which that term is predicted


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed, see _rows.evaluate.

    Every kind is evaluated by one call, so `context`, the window of a text, is taken here too; stored rows have lengths of their own.

    A split also has worst_excess (of any position), identified_accuracy and first_error (deterministic families, from the 4th term), and the same for each of
    its "families"; the walk has entropy, bayes_entropy and calibration_error instead, on prefixes that no other family explains.
    """
    facts = read_json(raw / "facts.json")
    longest = max(fact["row_length"] for name, fact in facts["splits"].items() if splits is None or name in splits)
    return _rows.evaluate(model, tokens, raw, partial(_measure, specification(facts["spec"], facts["holdout"], longest)), batch_size, splits)


def _measure(spec: Spec, split: Split, scores: Scores) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """Families without a sequence in the split are left out."""
    family = split.array("family")
    members = {FAMILIES[f]: family == f for f in np.unique(family)}
    families = {}
    for name, own in members.items():
        extra = _walk(spec, split, own, scores[own]) if name == FAMILIES[WALK] else _identified(scores[own])
        families[name] = {**_rows.means(scores[own]), **extra}
    return {**_rows.worst_position(scores), **_identified(scores[family != WALK]), "families": families}, members


def _identified(scores: Scores) -> dict[str, Any]:
    late = scores.correct[:, KNOWN:]
    return {} if np.isnan(late).all() else {"identified_accuracy": float(np.nanmean(late)), **_rows.first_error(scores, KNOWN)}


def _walk(spec: Spec, split: Split, own: np.ndarray, scores: Scores) -> dict[str, float]:
    """Where only the walk explains the prefix: there the exact prediction is a row of its kernel."""
    ids = split.ids[own]
    others = log_prefixes(spec, ids, split.fact["prior"])[:WALK]  # (4, N, L)
    alone = np.isneginf(others[:, :, :-1]).all(0) & ~np.isnan(scores.loss)  # (N, L - 1)
    return _rows.calibration(scores[alone], spec.walk.entropy[ids[:, :-1][alone]]) if alone.any() else {}


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds}, see _rows.summaries. `seeds`: {seed: result of evaluate}."""
    figures = {"worst_excess": ["worst_excess"], "accuracy_identified": ["identified_accuracy"], "never_wrong_identified": ["first_error", "never"]}
    figures |= {f"walk_{name}": ["families", "walk", name] for name in ("entropy", "bayes_entropy", "calibration_error")}
    held = {f"heldout_{name}_accuracy": ["heldout", "families", name, "identified_accuracy"] for name in HELD_FAMILIES}
    return _rows.summaries(seeds, figures, held)
