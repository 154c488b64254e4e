"""Addition: exact match on held-out problems and longer ones, errors by position and carry, strata, and the proof that the task asks for.

A problem is right when all tokens of its answer are. Read teacher-forced that is the same as written greedily: up to the
first error both see the same tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from picollm.core import statistics
from picollm.core.config import parse
from picollm.core.tokens import TokenFolder
from picollm.evaluation import _rows
from picollm.evaluation._addition import proof, strata
from picollm.evaluation._rows import Scores, Split, tables
from picollm.models import Model
from picollm.tasks.addition.config import Config

__all__ = ["evaluate", "summaries", "tables"]


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed, see _rows.evaluate; and "strata" and "proof", of two operands. `context` is of texts only.

    A split also has "exact", the share of problems that are right with its interval, "families" by carry chain, and "wrong_at", the
    errors at each position of the answer, of which the first of a problem are "first_wrong_at".
    """
    task = parse(Config, tokens.header["stream"], str(tokens.folder / "header.json"))
    limit = getattr(getattr(model, "config", None), "block_size", None) if _by_table(model) else None
    known = [split for split in tokens.header["splits"] if not split.endswith(".targets") and (splits is None or split in splits)]
    fits = [split for split in known if limit is None or task.answer_width(task.width(split)) < limit]
    result = _rows.evaluate(model, tokens, raw, _measure, batch_size, fits)
    for split in set(known) - set(fits):
        result["lengths"][split.removeprefix("length")] = {
            "skipped": f"answers of {task.answer_width(task.width(split))} digits; the position table has {limit}"
        }
    if task.operands == 2 and splits is None and task.proof != "none":
        result["strata"] = strata.measure(cast(Model, model), task)
        if task.proof == "exhaustive" or (task.proof == "certificate" and (reason := proof.why_no_certificate(cast(Model, model), task)) is None):
            result["proof"] = proof.prove(cast(Model, model), task, task.proof).figures()
        elif task.proof == "certificate":
            result["proof"] = {"skipped": f"a certificate {reason}"}
    return result


def _by_table(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    return getattr(config, "positions", None) == "learned" and getattr(config, "position_ids", "sequential") != "sequential"


def _measure(split: Split, scores: Scores) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    wrong = scores.correct == 0  # (N, T)
    right = ~wrong.any(1)
    chain = split.array("chain")
    families = {f"chain {length}": np.flatnonzero(chain == length) for length in np.unique(chain).tolist()}
    start = (~np.isnan(scores.correct)).argmax(1)  # (N,) where the answer is asked for
    at = np.nonzero(wrong)[1] - start[np.nonzero(wrong)[0]]
    first = wrong[~right].argmax(1) - start[~right]
    figures: dict[str, Any] = {
        "exact": {"mean": float(right.mean()), **statistics.proportion(int(right.sum()), len(right))},
        "families": {
            name: {**_rows.means(scores[members]), "exact": statistics.proportion(int(right[members].sum()), len(members))}
            for name, members in families.items()
        },
        "wrong_at": np.bincount(at).tolist(),
        "first_wrong_at": np.bincount(first).tolist(),
    }
    return figures, families


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds}, see _rows.summaries: exact (of test), exact_30, strata_exact, proof_failures, proof_margin, proof_holds, ..."""
    figures: dict[str, Sequence[str]] = {"strata_exact": ["strata", "exact"]}
    figures |= {f"proof_{name}": ["proof", name] for name in ("failures", "margin", "rounding", "holds")}
    return _rows.summaries(seeds, {"exact": ["exact", "mean"]}, figures)
