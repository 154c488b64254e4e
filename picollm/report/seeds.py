"""A metric seed by seed, under the name that summaries and tables give its mean.

The stages write every seed's figures as they fall, nested, and means under short names. Here is the way from such a name to the figures:
`excess_64`, `pairs_accuracy_coreference`; `validation_loss@best`, a point of the training's curve; `distinct_2@greedy`, a measure of what
was written under a setting.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from picollm.core.errors import UserError, did_you_mean
from picollm.report.collect import Run
from picollm.report.sampling import NAMES as MEASURES

Values = dict[str, float]  # by seed

SPLITS = ("train", "validation", "test")
FIGURES: dict[str, tuple[str, ...]] = {  # of a split, or of a length: where they stand
    **{name: (name,) for name in ("loss", "floor", "excess", "accuracy", "worst_excess", "entropy", "bayes_entropy", "calibration_error")},
    "accuracy_identified": ("identified_accuracy",),
    "never_wrong": ("first_error", "never"),
    "never_wrong_identified": ("first_error", "never"),
    "exact": ("exact", "mean"),
    **{f"walk_{name}": ("families", "walk", name) for name in ("entropy", "bayes_entropy", "calibration_error")},
}
TEXT = ("bits_per_byte", "excess_bits_per_byte", "floor_bits_per_byte", "floor_loss")  # of whole documents, where some fit
PROOF = ("failures", "margin", "rounding", "holds")
OPEN = (  # names that end with one of the task's own: a category, a source
    *("pairs_accuracy_", "bits_per_byte_", "excess_bits_per_byte_"),
    *(f"{split}_loss_" for split in SPLITS[1:]),
)
KNOWN = (
    *(name for name in FIGURES if name != "loss"),
    *(f"{split}_{name}" for split in SPLITS for name in ("loss", "accuracy")),
    *(f"heldout_{family}_accuracy" for family in ("arithmetic", "geometric", "alternating")),
    *("strata_exact", *(f"proof_{name}" for name in PROOF)),
    *(*TEXT, "perplexity", "pairs_accuracy", "steps_to_exact"),
)
CURVES = ("train_loss", "validation_loss", "validation_exact")
POINTS: dict[str, Callable[[list[float]], float]] = {"first": lambda points: points[0], "best": min, "last": lambda points: points[-1]}


def check(metric: str, settings: Mapping[str, Any]) -> None:
    """Raises UserError for a name that no result has, whatever was run. settings: those of params.yaml that texts are sampled with."""
    name, _, place = metric.partition("@")
    if not place:
        bare = re.sub(r"(_pairs)?_\d+$", "", name)
        if bare not in KNOWN and not name.startswith(OPEN):
            raise UserError(f"unknown metric {name!r} {did_you_mean(bare, KNOWN)}")
        return
    if place not in POINTS and place not in settings and place != "corpus":
        raise UserError(f"unknown {place!r} after @ {did_you_mean(place, [*POINTS, *settings, 'corpus'])}")
    names = CURVES if place in POINTS else MEASURES
    if name not in names:
        raise UserError(f"unknown metric {name!r} before @{place} {did_you_mean(name, names)}")


def of_run(run: Run, metric: str) -> Values:
    """Empty where nothing was measured."""
    name, _, place = metric.partition("@")
    if place in POINTS:
        return _of_curve(run, name, POINTS[place])
    if place:
        return {row["seed"]: float(row[name]) for row in run.sampling if row["setting"] == place and row.get(name) not in (None, "")}
    if name == "steps_to_exact":
        return _steps_to_exact(run)
    found = {seed: value for seed, result in run.evaluation.get("seeds", {}).items() if (value := _in(result, name)) is not None}
    own = {seed: float(values[name]) for seed, values in run.train.get("seeds", {}).items() if name in values}
    return found or own


def of_cell(cell: Mapping[str, Any], metric: str) -> Values:
    """Of a cell of a sweep, which keeps the short names for every seed."""
    return {seed: float(values[metric]) for seed, values in cell["seeds"].items() if metric in values}


def _of_curve(run: Run, name: str, point: Callable[[list[float]], float]) -> Values:
    curves: dict[str, list[float]] = {}
    for row in run.curve:
        if row.get(name) not in (None, ""):
            curves.setdefault(str(row["seed"]), []).append(float(row[name]))
    return {seed: point(values) for seed, values in curves.items()}


def _steps_to_exact(run: Run) -> Values:
    """Of the seeds that ever had no error in the validation set."""
    exact = [row for row in run.curve if row.get("validation_exact") not in (None, "") and float(row["validation_exact"]) == 1]
    return {str(row["seed"]): float(row["step"]) for row in sorted(exact, key=lambda row: -int(row["step"]))}  # the first of a seed is written last


def _in(result: Mapping[str, Any], name: str) -> float | None:
    """The figure of that short name in the evaluation of a seed."""
    for path in _paths(name):
        value: Any = result
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            return float(value)
    return None


def _paths(name: str) -> Iterator[tuple[str, ...]]:
    """Where it may stand, the likeliest first."""
    if found := re.fullmatch(r"(\w+?)(_pairs)?_(\d+)", name):
        yield ("pairs" if found[2] else "lengths", found[3], *FIGURES.get(found[1], (found[1],)))
    for split in SPLITS:
        if name in (f"{split}_loss", f"{split}_accuracy"):
            key = name.removeprefix(f"{split}_")
            yield from ((split, key), (split, "packed", key))
        yield (split, "sources", name.removeprefix(f"{split}_loss_"), "packed", "loss")
    if family := re.fullmatch(r"heldout_(\w+)_accuracy", name):
        yield ("heldout", "families", family[1], "identified_accuracy")
    if name.startswith("proof_"):
        yield ("proof", name.removeprefix("proof_"))
    yield from {"strata_exact": [("strata", "exact")], "pairs_accuracy": [("pairs", "accuracy")]}.get(name, [])
    yield ("pairs", "categories", name.removeprefix("pairs_accuracy_"), "accuracy")
    if held := re.fullmatch(r"((?:excess_)?bits_per_byte)_(heldout_\w+)", name):
        yield (held[2], "documents", held[1])
    for split in ("test", "validation"):  # a task without a test split is judged by its validation split
        yield (split, *FIGURES.get(name, (name,)))
        yield from ((split, part, name) for part in (("documents", "packed") if name in TEXT else ("packed",)))
        yield (split, "sources", name.removeprefix("bits_per_byte_"), "packed", "bits_per_byte")
