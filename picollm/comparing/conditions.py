"""Conditions that make a comparison fail: `fables_transformer.bits_per_byte worse than main by 1%`.

A condition is met where the whole 95 % interval of the difference lies beyond the tolerance, and not where its mean alone does: few seeds fail
nothing by chance. With one seed there is no interval, and the condition cannot be judged.
"""

import re
from dataclasses import dataclass

from picollm.comparing.compared import Compared, difference, direction, known_metric
from picollm.comparing.places import Places
from picollm.core.errors import UserError

FORM = re.compile(r"(?P<left>\S+)\.(?P<metric>[\w-]+) (?P<way>worse|better) than (?P<right>\S+) by (?P<amount>\d+(\.\d+)?)(?P<percent> ?%)?")
EXAMPLE = "write RUN.METRIC worse than REVISION-or-RUN by NUMBER or NUMBER%, such as 'fables_transformer.bits_per_byte worse than main by 1%'"


@dataclass(frozen=True)
class Condition:
    text: str
    left: str
    metric: str
    sign: int  # of left - right when it is met
    right: str
    amount: float
    percent: bool  # of the right side's mean


@dataclass(frozen=True)
class Met:
    condition: Condition
    left: Compared
    right: Compared
    met: bool
    said: str  # how much, with its interval


def parse(text: str) -> Condition:
    found = FORM.fullmatch(" ".join(text.split()))
    if not found:
        raise UserError(f"--fail-if {text!r}: is no condition; {EXAMPLE}")
    better = direction(found["metric"])
    if not better:
        raise UserError(f"--fail-if {text!r}: {found['metric']} is neither better nor worse when it is higher; take another metric")
    sign = better if found["way"] == "better" else -better
    return Condition(text, found["left"], found["metric"], sign, found["right"], float(found["amount"]), bool(found["percent"]))


def judge(condition: Condition, places: Places) -> Met:
    """Raises UserError for what there is not, and for fewer than two seeds."""
    left = places.one(condition.left)
    right = places.beside(condition.right, condition.left.rpartition(":")[2])
    for side in (left, right):
        known_metric(side, condition.metric)
    found = difference(left, right, condition.metric)
    if found is None:
        raise UserError(f"--fail-if {condition.text!r}: one seed has no interval; give {left.label} and {right.label} two seeds or more")
    scale = 100 / abs(right.mean(condition.metric)["mean"] or float("nan")) if condition.percent else 1.0
    ends = sorted(condition.sign * scale * end for end in (found.value if found.low is None else found.low, found.value if found.high is None else found.high))
    unit = " %" if condition.percent else ""
    said = f"by {condition.sign * scale * found.value:.3g}{unit} [{ends[0]:.3g}, {ends[1]:.3g}]"
    return Met(condition, left, right, ends[0] > condition.amount, said)
