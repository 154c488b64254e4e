"""What the evaluations of number sequences share: a trained model against the exact predictor, target by target on the very same sequences.

The excess is paired: model loss minus exact loss on each target, then the mean over targets. Its expectation is
KL(exact || model), averaged over prefixes, without the sampling error of a difference to the expected floor.

Shapes: N sequences, T the ids that a model reads of a row, B rows of a batch, V vocabulary. Column c belongs to the
prediction after c + 1 ids, and c + 1 is its position: of the next term, or of the read one where a task has its own targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from picollm.core import statistics
from picollm.core.files import read_json
from picollm.core.tokens import TokenFolder
from picollm.tasks._rows import load
from picollm.training.batches import IGNORED, Batch, stored

TRAIN_ROWS = 5000  # of the training set: enough to see overfitting
BATCH_TERMS = 32  # longer rows come in smaller batches, so that a batch keeps its number of terms
SHAPES = 16  # of batches with long rows: PyTorch keeps memory for every length it has met, 1.2 GB for a hundred of them
BINS = 15  # of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)
AXES = {"length": "lengths", "pairs": "pairs"}  # splits called length64, pairs32, ... -> where their figures stand, by the number

KEYS = ("loss", "floor", "excess", "accuracy")
Rows = list[dict[str, Any]]
Place = Sequence[str]  # where a figure stands in a result


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model and the exact predictor did on each target of a split, NaN where nothing is scored. All (N, T) float64."""

    loss: np.ndarray  # nats
    floor: np.ndarray  # nats, the exact predictor's
    correct: np.ndarray  # 1 where the likeliest id was the target
    entropy: np.ndarray  # nats, of the model's prediction
    confidence: np.ndarray  # the probability of the likeliest id

    def __getitem__(self, index: Any) -> "Scores":
        """Of some sequences, or of the targets where a (N, T) mask is true."""
        return Scores(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Split:
    """The evaluated sequences of a stored set."""

    name: str
    fact: Mapping[str, Any]  # its entry in facts.json
    ids: np.ndarray  # (N, L) as stored
    raw: Path

    def array(self, name: str) -> np.ndarray:
        """A raw array, cut to the same sequences."""
        return load(self.raw, self.name, name)[: len(self.ids)]


# What a task measures beyond the means, and which sequences (N,) belong to which of its families.
Measure = Callable[[Split, Scores], tuple[dict[str, Any], Mapping[str, np.ndarray]]]


def evaluate(model: nn.Module, tokens: TokenFolder, raw: Path, measure: Measure, batch_size: int = 256, splits: Sequence[str] | None = None) -> dict[str, Any]:
    """All figures of one seed: {split: {...}, "lengths": {length: {...}}, "positions": rows}. `splits` limits them, by stored name.

    A split has loss, floor, excess (nats), accuracy, and what `measure` adds. What is longer than the model's `max_length`
    is {"skipped": reason}. `positions` are table rows, see `tables`: of every split, and of the longest evaluated one of
    each axis, which says what shorter ones would.
    """
    model.eval()
    facts = read_json(raw / "facts.json")
    chosen = {name: fact for name, fact in facts["splits"].items() if splits is None or name in splits}
    assert chosen, f"{raw} has none of the splits {splits}"
    limit = getattr(model, "max_length", None)
    result: dict[str, Any] = {"lengths": {}}
    positions: dict[str, Rows] = {}
    for name, fact in sorted(chosen.items(), key=lambda item: item[1]["row_length"]):
        axis = next((axis for axis in AXES if name.startswith(axis)), None)
        figures = result.setdefault(AXES[axis], {}).setdefault(name.removeprefix(axis), {}) if axis else result.setdefault(name, {})
        rows = stored(tokens, name)
        width = rows.ids.shape[1] - (rows.targets is None)  # the last term is only a target
        if limit is not None and limit < width:
            figures["skipped"] = f"rows of {fact['row_length']} terms; the model takes at most {limit}"
            continue
        some = slice(TRAIN_ROWS if name == "train" else None)
        split = Split(name, fact, rows.ids[some].astype(np.int64), raw)
        floor = split.array("floor")[:, -width:] if "floor" not in facts else np.full((len(split.ids), width), facts["floor"])
        scores = _score(model, split.ids, rows.batch(some), floor, batch_size)
        extra, families = measure(split, scores)
        figures.update({**means(scores), **extra})
        positions[axis or name] = _positions(name, scores, families)  # a longer one replaces the last
    return {**result, "positions": [row for part in positions.values() for row in part]}


@torch.inference_mode()
def _score(model: nn.Module, ids: np.ndarray, batch: Batch, floor: np.ndarray, batch_size: int) -> Scores:
    """Run the model once over each distinct row, sorted by length so that a batch is cut to its longest row: some tasks have few rows and many copies."""
    _, first, copies = np.unique(ids, axis=0, return_index=True, return_inverse=True)  # targets follow from the ids
    inputs, targets = batch.inputs[first], batch.targets[first]
    N, T = inputs.shape
    scored = (targets != IGNORED).numpy()
    length = T - scored[:, ::-1].argmax(1)  # up to the last target
    few = max(1, T // SHAPES)
    length = np.minimum(-(-length // few) * few, T)
    loss, correct, entropy, confidence = np.full((4, N, T), np.nan)
    device = next(model.parameters(), torch.empty(0)).device
    order = np.argsort(length, kind="stable")
    step = max(1, batch_size * BATCH_TERMS // max(T, BATCH_TERMS))
    for rows in np.split(order, np.arange(step, N, step)):
        t = int(length[rows].max())
        x, y = inputs[rows, :t].to(device), targets[rows, :t].clamp_min(0).to(device)
        logs = model(x).float().log_softmax(-1)  # (B, t, V)
        top, guess = logs.max(-1)
        loss[rows, :t] = -logs.gather(-1, y[..., None])[..., 0].cpu().numpy()
        correct[rows, :t] = (guess == y).cpu().numpy()
        entropy[rows, :t] = torch.special.entr(logs.exp_()).sum(-1).cpu().numpy()
        confidence[rows, :t] = top.exp().cpu().numpy()
    for array in (loss, correct, entropy, confidence):
        array[~scored] = np.nan
    return Scores(loss[copies], np.where(scored[copies], floor.astype(np.float64), np.nan), correct[copies], entropy[copies], confidence[copies])


def means(scores: Scores) -> dict[str, float]:
    loss, floor = float(np.nanmean(scores.loss)), float(np.nanmean(scores.floor))
    return {"loss": loss, "floor": floor, "excess": float(np.nanmean(scores.loss - scores.floor)), "accuracy": float(np.nanmean(scores.correct))}


def worst_position(scores: Scores) -> dict[str, float]:
    """The largest mean excess at any one position, nats: an average over a long sequence would hide a place where a model fails."""
    count = (~np.isnan(scores.loss)).sum(0)
    excess = np.nansum(scores.loss - scores.floor, 0)[count > 0] / count[count > 0]
    return {"worst_excess": float(excess.max())}


def calibration(scores: Scores, exact_entropy: np.ndarray) -> dict[str, float]:
    """How sure the model is against how sure one can be, and how often it is right when it is so sure. `scores` of n targets, `exact_entropy` (n,) nats."""
    bins = np.minimum((scores.confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.abs(np.bincount(bins, scores.correct - scores.confidence))
    error = float(gaps.sum() / len(scores.confidence))
    return {"entropy": float(scores.entropy.mean()), "bayes_entropy": float(exact_entropy.mean()), "calibration_error": error}


def first_error(scores: Scores, start: int = 0) -> dict[str, Any]:
    """Where sequences whose targets can be known fail: {"first_error": {"never", "mean", "median"}}, targets counted from column `start` on.

    "never" is the share of the sequences without a wrong prediction, the others are positions, of the sequences that have one.
    """
    late = scores.correct[:, start:]
    wrong = late[~np.isnan(late).all(1)] == 0  # (n, T - start)
    if not len(wrong):
        return {}
    fails = wrong.any(1)
    at = wrong[fails].argmax(1) + start + 1
    where = {"mean": float(at.mean()), "median": float(np.median(at))} if len(at) else {}
    return {"first_error": {"never": float(1 - fails.mean()), **where}}


def _positions(split: str, scores: Scores, families: Mapping[str, np.ndarray]) -> Rows:
    """One row for each family and position."""
    rows: Rows = []
    for name, own in {"all": scores, **{name: scores[members] for name, members in families.items()}}.items():
        count = (~np.isnan(own.loss)).sum(0)
        sums = {"loss": own.loss, "floor": own.floor, "excess": own.loss - own.floor, "accuracy": own.correct}
        averages = {key: np.nansum(values, 0) / np.maximum(count, 1) for key, values in sums.items()}
        rows += [
            {"split": split, "family": name, "position": int(c) + 1, **{key: round(float(values[c]), 6) for key, values in averages.items()}}
            for c in np.flatnonzero(count)
        ]
    return rows


def summaries(
    seeds: Mapping[int, Mapping[str, Any]], figures: Mapping[str, Place] | None = None, others: Mapping[str, Place] | None = None
) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds} of the figures that all seeds have. `seeds`: {seed: result of evaluate}.

    Loss and accuracy of each split, floor and excess of test, excess_LENGTH and accuracy_LENGTH, of another axis excess_pairs_NUMBER, ...
    `figures` are more that stand in every split: {name: path} gives name (of test) and name_LENGTH. `others` are paths from the top.
    """
    more = figures or {}
    paths: dict[str, Place] = {f"{split}_{key}": [split, key] for split in ("train", "validation", "test") for key in ("loss", "accuracy")}
    paths |= {name: ["test", *path] for name, path in {"floor": ["floor"], "excess": ["excess"], **more}.items()}
    for axis, place in AXES.items():
        label = "" if axis == "length" else f"{axis}_"
        for number in sorted({number for result in seeds.values() for number in result.get(place, {})}, key=int):
            each = {"excess": ["excess"], "accuracy": ["accuracy"], **more}
            paths |= {f"{name}_{label}{number}": [place, number, *path] for name, path in each.items()}
    paths |= others or {}
    found = {name: [_at(result, path) for result in seeds.values()] for name, path in paths.items()}
    return {name: statistics.summary([x for x in values if x is not None]) for name, values in found.items() if values and None not in values}


def tables(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Rows]:
    """The rows of the files "positions" (seed, split, family, position, loss, floor, excess, accuracy), "length" (seed, length, family, loss, ...), and
    "pairs" where a task has that axis."""
    result = {"positions": [{"seed": seed, **row} for seed, one in seeds.items() for row in one["positions"]]}
    for axis, place in AXES.items():
        if any(place in one for one in seeds.values()):
            result[axis] = [row for seed, one in seeds.items() for row in _axis(seed, axis, one.get(place, {}))]
    return result


def _axis(seed: int, axis: str, measured: Mapping[str, Mapping[str, Any]]) -> Rows:
    return [
        {"seed": seed, axis: int(number), "family": name, **{key: part[key] for key in KEYS}}
        for number, figures in measured.items()
        if "skipped" not in figures
        for name, part in {"all": figures, **figures.get("families", {})}.items()
    ]


def _at(value: Any, path: Place) -> float | None:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else float(value)
