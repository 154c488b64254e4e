"""How measures are named and numbers written: alike in the report's tables and sentences, on the other pages, and in the terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from picollm.core.statistics import Summary

NONE = "\u2013"  # nothing was measured
ROWS = (  # of the tasks that are rows of integers: every kind but text
    *("excess", "test_loss", "validation_loss", "test_accuracy", "accuracy_identified"),
    *("heldout_arithmetic_accuracy", "heldout_geometric_accuracy", "heldout_alternating_accuracy"),
    *("exact", "strata_exact", "proof_failures", "steps_to_exact"),
)
TEXT = ("excess_bits_per_byte", "bits_per_byte", "test_loss", "validation_loss", "perplexity", "accuracy")
NAMES = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "test_loss": "test loss",
    "excess": "excess over floor",
    "train_accuracy": "training accuracy, %",
    "validation_accuracy": "validation accuracy, %",
    "test_accuracy": "test accuracy, %",
    "accuracy": "accuracy, %",
    "accuracy_identified": "once identified, %",
    "heldout_arithmetic_accuracy": "held-out arithmetic, %",
    "heldout_geometric_accuracy": "held-out geometric, %",
    "heldout_alternating_accuracy": "held-out alternating, %",
    "worst_excess": "excess at the worst position",
    "never_wrong": "never wrong, share",
    "never_wrong_identified": "never wrong, once identified",
    "walk_bayes_entropy": "walk exact entropy",
    "bayes_entropy": "exact entropy",
    "exact": "problems right, %",
    "strata_exact": "strata right, %",
    "proof_failures": "failures among all pairs",
    "steps_to_exact": "steps until no validation error",
    "bits_per_byte": "bits per byte",
    "excess_bits_per_byte": "excess bits per byte",
}


def number(value: float, digits: int = 4) -> str:
    """Significant digits, without an exponent where people expect none: 0.3543, 12.00, 1,234,567, 1.200e-06."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(float(f"{value:.{digits}g}")) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def estimate(value: Summary | None, percent: bool = False) -> str:
    """`mean ± half the 95 % interval`, the mean alone where one seed allows no interval."""
    if not value:
        return NONE
    scale = 100 if percent else 1
    text = number(scale * value["mean"])
    if "high" not in value:
        return text
    half = (value["high"] - value["low"]) / 2
    return f"{text} ± {number(scale * half, 2) if half > 1e-12 * abs(value['mean']) else 0}"  # below: equal values and the rounding of their mean


def judged_by(kind: str) -> tuple[str, ...]:
    """The metrics that a kind of task is judged by, the first of all first."""
    return TEXT if kind == "text" else ROWS


def metric(summaries: Mapping[str, Summary], name: str) -> str:
    return estimate(summaries.get(name), percent="accuracy" in name or "exact" in name.split("_")[:1] or name == "strata_exact")


def verdict(difference: Summary) -> str:
    """What the 95 % interval of a difference of losses allows to say."""
    if "high" not in difference:
        return "one seed: no interval"
    if difference["low"] > 0:
        return "higher"
    return "lower" if difference["high"] < 0 else "no difference shown"


def title(name: str) -> str:
    return NAMES.get(name, name.replace("_", " ") + ", %" * ("accuracy" in name))


def plain(value: Any) -> str:
    """A parameter as one writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def varied(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parameters of a sweep's grid, by dotted name, in which its cells differ."""
    return [name for name in cells[0]["point"] if len({plain(cell["point"][name]) for cell in cells}) > 1]
