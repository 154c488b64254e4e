"""What is compared: a run with its parameters and the figures of each of its seeds, wherever they came from; and the difference of two of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from picollm.core.errors import UserError, did_you_mean
from picollm.core.statistics import Summary, summary
from picollm.report import seeds
from picollm.report._tests import Difference, apart, by_seed
from picollm.report.collect import LONGER, Run, Task, flat, longer
from picollm.report.figures import Rows
from picollm.report.seeds import Values
from picollm.report.sides import stream
from picollm.report.writing import NONE, judged_by, plain

DIRECTIONS = {  # by a word of the metric's name, the first that it has
    **dict.fromkeys(("floor", "entropy", "rounding"), 0),
    **dict.fromkeys(("loss", "excess", "bits", "perplexity", "failures", "error", "steps"), -1),
    **dict.fromkeys(("accuracy", "exact", "wrong", "holds", "margin"), 1),  # "wrong" of never_wrong
}


@dataclass(frozen=True)
class Compared:
    label: str
    values: Mapping[str, Values]  # metric -> seed -> value
    parameters: dict[str, str]  # as one writes them, by dotted name
    whole: bool = True  # are these all parameters? A checkpoint keeps some
    stream: tuple[Any, ...] | None = None  # what its seeds were shown; None: not known
    headlines: tuple[str, ...] = ()  # the metrics that its kind of task is judged by
    curve: Rows = field(default_factory=list)

    def mean(self, metric: str) -> Summary:
        return summary(list(self.values[metric].values()))


def of_run(run: Run, task: Task, place: str = "") -> Compared:
    """Raises UserError for a run without results."""
    if not run.train.get("seeds"):
        todo = f"raise runs.{run.name}.seeds" if run.config.get("seeds") == 0 else f"train it with dvc repro evaluate@{run.name}"
        raise UserError(f"{place}{run.name}: {run.missing}; {todo}")
    found = {metric: seeds.of_run(run, metric) for metric in run.summary}
    longest = [f"{LONGER}{length}" for length in longer(run)[-1:]]
    return Compared(
        label=f"{place}{run.name}",
        values={metric: values for metric, values in found.items() if values},
        parameters={name: plain(value) for name, value in flat({**run.config, f"tasks.{task.name}": task.config}).items()},
        stream=(stream(task.name, run.config.get("training") or {}, {}), repr(sorted(flat(task.config).items()))),
        headlines=(*judged_by(task.kind), *longest),
        curve=run.curve,
    )


def difference(left: Compared, right: Compared, metric: str) -> Difference | None:
    """left - right; by seed where the same seeds saw the same data. None where they are too few for an interval."""
    ours, theirs = left.values[metric], right.values[metric]
    same = left.stream is not None and left.stream == right.stream and set(ours) == set(theirs)
    return by_seed(ours, theirs) if same else apart(list(ours.values()), list(theirs.values()))


def common(left: Compared, right: Compared) -> list[str]:
    """The metrics that both have, those that they are judged by first."""
    both = [metric for metric in left.values if metric in right.values]
    first = [metric for metric in left.headlines if metric in both]
    return [*first, *(metric for metric in sorted(both) if metric not in first)]


def changed(left: Compared, right: Compared) -> dict[str, tuple[str, str]]:
    """{parameter: (left, right)} where they differ; of a side that keeps only some, among those."""
    names = dict.fromkeys([*left.parameters, *right.parameters])
    if not (left.whole and right.whole):
        names = dict.fromkeys(name for name in names if name in left.parameters and name in right.parameters)
    pairs = {name: (left.parameters.get(name, NONE), right.parameters.get(name, NONE)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def direction(metric: str) -> int:
    """1: the higher the better; -1: the lower; 0: neither is."""
    words = metric.partition("@")[0].split("_")
    return next((sign for word, sign in DIRECTIONS.items() if word in words), 0)


def known_metric(one: Compared, metric: str) -> None:
    if metric not in one.values:
        raise UserError(f"{one.label} has no metric {metric!r} {did_you_mean(metric, one.values)}")
