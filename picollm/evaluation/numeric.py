"""A trained model against the exact predictor, term by term on the very same sequences.

The excess is paired: model loss minus exact loss on each scored term, then the token-weighted mean. Its expectation is
KL(Bayes || model), averaged over prefixes, without the sampling error of a difference to the expected floor.

Shapes: N sequences, L row length, B rows of a batch, T their longest length, V vocabulary; column t belongs to the prediction of term t, so column 0 is empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from picollm import statistics
from picollm.files import read_json
from picollm.tasks.numeric.floors import IDENTIFIED
from picollm.tasks.numeric.predictor import Prior, log_prefixes
from picollm.tasks.numeric.sets import load
from picollm.tasks.numeric.spec import FAMILIES, HELD_FAMILIES, WALK, Spec, specification
from picollm.tokens import TokenFolder

TRAIN_ROWS = 5000  # of the training set: enough to see overfitting
BATCH_TERMS = 32  # longer rows come in smaller batches, so that a batch keeps its number of terms
BINS = 15  # of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)

KEYS = ("loss", "floor", "excess", "accuracy")
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model and the exact predictor did on each term of a split, NaN where nothing is scored. All (N, L) float64, the last two for walks only."""

    loss: np.ndarray  # nats
    floor: np.ndarray  # nats, the exact predictor's
    correct: np.ndarray  # 1 where the likeliest term came
    entropy: np.ndarray  # nats, of the model's prediction
    confidence: np.ndarray  # the probability of the likeliest term

    def __getitem__(self, index: Any) -> "Scores":
        return Scores(*(getattr(self, field.name)[index] for field in fields(self)))


def evaluate(
    model: nn.Module, tokens: TokenFolder, raw: Path, context: int | None = None, batch_size: int = 256, splits: Sequence[str] | None = None
) -> dict[str, Any]:
    """All figures of one seed: {split: {...}, "lengths": {length: {...}}, "positions": rows}. `splits` limits them, by stored name.

    Every kind is evaluated by one call, so `context`, the window of a text, is taken here too; stored rows have lengths of their own.

    A split has loss, floor, excess (nats), accuracy, identified_accuracy (deterministic families, from the 4th term), and
    the same for each of its "families"; the walk has entropy, bayes_entropy and calibration_error instead, on prefixes
    that no other family explains. What is longer than the model's `max_length` is {"skipped": reason}. `positions` are
    table rows, see `tables`: of every split, and of the longest evaluated length, which says what shorter ones would.
    """
    model.eval()
    facts = read_json(raw / "facts.json")
    chosen = {name: fact for name, fact in facts["splits"].items() if splits is None or name in splits}
    assert chosen, f"{raw} has none of the splits {splits}"
    spec = specification(facts["spec"], facts["holdout"], max(fact["row_length"] for fact in chosen.values()))
    limit = getattr(model, "max_length", None)
    result: dict[str, Any] = {"lengths": {}}
    positions: dict[str, Rows] = {}
    for name, fact in sorted(chosen.items(), key=lambda item: item[1]["row_length"]):
        row_length, long = fact["row_length"], name.startswith("length")
        figures = result["lengths"].setdefault(str(row_length), {}) if long else result.setdefault(name, {})
        if limit is not None and limit < row_length:
            figures["skipped"] = f"rows of {row_length} terms; the model takes at most {limit}"
            continue
        rows = slice(TRAIN_ROWS if name == "train" else None)
        ids = tokens.split(name)[rows].astype(np.int64)
        family, length = load(raw, name, "family")[rows], load(raw, name, "length")[rows]
        scores = _score(model, ids, length, load(raw, name, "floor")[rows], family == WALK, batch_size)
        figures.update(_figures(scores, family, spec, ids, fact["prior"]))
        positions["length" if long else name] = _positions(name, scores, family)  # a longer one replaces the last
    return {**result, "positions": [row for part in positions.values() for row in part]}


@torch.inference_mode()
def _score(model: nn.Module, ids: np.ndarray, length: np.ndarray, floor: np.ndarray, walk: np.ndarray, batch_size: int) -> Scores:
    """Run the model once over each distinct row, sorted by length so that a batch is cut to its longest row: classic has few rows and many copies."""
    _, first, copies = np.unique(ids, axis=0, return_index=True, return_inverse=True)
    ids, length = ids[first], length[first]
    walk = np.bincount(copies, walk) > 0  # a walk may look like a sequence of another family
    N, L = ids.shape
    loss, correct, entropy, confidence = np.full((4, N, L), np.nan)
    device = next(model.parameters(), torch.empty(0)).device
    order = np.argsort(length, kind="stable")
    batch = max(1, batch_size * BATCH_TERMS // max(L, BATCH_TERMS))
    for rows in np.split(order, np.arange(batch, N, batch)):
        T = int(length[rows].max())
        x = torch.from_numpy(ids[rows, :T]).to(device)
        logs = model(x[:, :-1]).float().log_softmax(-1)  # (B, T - 1, V)
        top, guess = logs.max(-1)
        loss[rows, 1:T] = -logs.gather(-1, x[:, 1:, None])[..., 0].cpu().numpy()
        correct[rows, 1:T] = (guess == x[:, 1:]).cpu().numpy()
        walks = torch.from_numpy(walk[rows]).to(device)
        entropy[rows[walk[rows]], 1:T] = torch.special.entr(logs[walks].exp()).sum(-1).cpu().numpy()
        confidence[rows[walk[rows]], 1:T] = top[walks].exp().cpu().numpy()
    beyond = np.arange(L) >= length[:, None]
    for array in (loss, correct, entropy, confidence):
        array[beyond] = np.nan
    return Scores(loss[copies], floor.astype(np.float64), correct[copies], entropy[copies], confidence[copies])


def _figures(scores: Scores, family: np.ndarray, spec: Spec, ids: np.ndarray, prior: Prior) -> dict[str, Any]:
    """The entry of a split. Families without a sequence in it are left out."""
    families = {}
    for f in np.unique(family):
        own = family == f
        extra = _walk(scores[own], ids[own], spec, prior) if f == WALK else _identified(scores[own])
        families[FAMILIES[f]] = {**_means(scores[own]), **extra}
    return {**_means(scores), **_identified(scores[family != WALK]), "families": families}


def _means(scores: Scores) -> dict[str, float]:
    loss, floor = float(np.nanmean(scores.loss)), float(np.nanmean(scores.floor))
    return {"loss": loss, "floor": floor, "excess": float(np.nanmean(scores.loss - scores.floor)), "accuracy": float(np.nanmean(scores.correct))}


def _identified(scores: Scores) -> dict[str, float]:
    late = scores.correct[:, IDENTIFIED:]
    return {} if np.isnan(late).all() else {"identified_accuracy": float(np.nanmean(late))}


def _walk(scores: Scores, ids: np.ndarray, spec: Spec, prior: Prior) -> dict[str, float]:
    """Entropies and calibration where only the walk explains the prefix: there the exact prediction is a row of its kernel."""
    others = log_prefixes(spec, ids, prior)[:WALK]  # (4, N, L)
    alone = np.isneginf(others[:, :, :-1]).all(0) & ~np.isnan(scores.loss[:, 1:])  # (N, L - 1)
    if not alone.any():
        return {}
    entropy, confidence, correct = (x[:, 1:][alone] for x in (scores.entropy, scores.confidence, scores.correct))
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.abs(np.bincount(bins, correct - confidence))
    bayes = spec.walk.entropy[ids[:, :-1][alone]]
    return {"entropy": float(entropy.mean()), "bayes_entropy": float(bayes.mean()), "calibration_error": float(gaps.sum() / len(confidence))}


def _positions(split: str, scores: Scores, family: np.ndarray) -> Rows:
    """One row for each family and term; positions count from 0, so the first scored one is 1."""
    rows: Rows = []
    for name in ("all", *FAMILIES):
        own = scores if name == "all" else scores[family == FAMILIES.index(name)]
        count = (~np.isnan(own.loss)).sum(0)
        sums = {"loss": own.loss, "floor": own.floor, "excess": own.loss - own.floor, "accuracy": own.correct}
        means = {key: np.nansum(values, 0) / np.maximum(count, 1) for key, values in sums.items()}
        rows += [
            {"split": split, "family": name, "position": int(t), **{key: round(float(values[t]), 6) for key, values in means.items()}}
            for t in np.flatnonzero(count)
        ]
    return rows


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds} of the figures that all seeds have. `seeds`: {seed: result of evaluate}."""
    paths: dict[str, list[str]] = {f"{split}_{key}": [split, key] for split in ("train", "validation", "test") for key in ("loss", "accuracy")}
    paths |= {"floor": ["test", "floor"], "excess": ["test", "excess"], "accuracy_identified": ["test", "identified_accuracy"]}
    paths |= {f"heldout_{name}_accuracy": ["heldout", "families", name, "identified_accuracy"] for name in HELD_FAMILIES}
    lengths = {length for result in seeds.values() for length in result["lengths"]}
    paths |= {f"excess_{length}": ["lengths", length, "excess"] for length in sorted(lengths, key=int)}
    found = {name: [_at(result, path) for result in seeds.values()] for name, path in paths.items()}
    return {name: statistics.summary([x for x in values if x is not None]) for name, values in found.items() if values and None not in values}


def tables(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Rows]:
    """The rows of the files "positions" (seed, split, family, position, loss, floor, excess, accuracy) and "length" (seed, length, family, loss, ...)."""
    positions = [{"seed": seed, **row} for seed, result in seeds.items() for row in result["positions"]]
    lengths: Rows = []
    for seed, result in seeds.items():
        for length, figures in result["lengths"].items():
            parts = {} if "skipped" in figures else {"all": figures, **figures["families"]}
            for name in ("all", *FAMILIES):
                if name in parts:
                    lengths.append({"seed": seed, "length": int(length), "family": name, **{key: parts[name][key] for key in KEYS}})
    return {"positions": positions, "length": lengths}


def _at(value: Any, path: list[str]) -> float | None:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else float(value)
