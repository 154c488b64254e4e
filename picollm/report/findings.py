"""The answer in a few lines: sentences whose every number comes from the metrics."""

from collections.abc import Sequence

from picollm.report.collect import LONGER, Run, Task, groups, longer, paired
from picollm.report.tables import estimate, number, verdict

UNITS = {
    "excess": "nats above the exact floor",
    "excess_bits_per_byte": "bits per byte above the exact floor",
    "bits_per_byte": "bits per byte (no floor is known)",
}
SHOWN = 4  # runs listed by name in one sentence


def sentences(task: Task) -> list[str]:
    """What the runs of a task say: distance to the floor, one-parameter comparisons, longer sequences, what is missing."""
    name = task.primary
    runs = sorted((run for run in task.evaluated if run.summary.get(name)), key=lambda run: run.summary[name]["mean"])
    if not runs:
        return ["No results in this budget."]
    return [text for text in (_floor(task, runs, name), _pairs(task, name), _beyond(task, runs), _absent(task)) if text]


def _floor(task: Task, runs: Sequence[Run], name: str) -> str:
    floor = task.mean({"excess": "floor", "excess_bits_per_byte": "floor_bits_per_byte"}.get(name, ""))
    above = f"{UNITS[name]}{f' of {number(floor)}' if floor is not None else ''}"
    parts = [f"{runs[0].name} ends {estimate(runs[0].summary[name])} {above} ({_seeds(runs[0])})"]
    parts += [f"{run.name} {estimate(run.summary[name])} ({_seeds(run)})" for run in runs[1:SHOWN]]
    if len(runs) > SHOWN:
        parts.append(f"{len(runs) - SHOWN} more up to {runs[-1].name} {estimate(runs[-1].summary[name])}")
    return f"{', '.join(parts)}."


def _pairs(task: Task, name: str) -> str:
    parts = []
    for first, *others in groups(task.evaluated):
        for run in others:
            difference = paired(run, first, name)
            if difference:
                reading = verdict(difference)
                parts.append(f"{run.name} minus {first.name} is {estimate(difference)} ({reading})")
    return f"Seed by seed, {'; '.join(parts)}." if parts else ""


def _beyond(task: Task, runs: Sequence[Run]) -> str:
    length = max((lengths[-1] for run in runs if (lengths := longer(run))), default=None)
    name = f"{LONGER}{length}"
    there = sorted((run for run in runs if run.summary.get(name)), key=lambda run: run.summary[name]["mean"])
    if not there:
        return ""
    best, last = there[0], there[-1]
    times = f" ({length / task.trained:g} times the longest trained)" if task.trained and length else ""
    text = f"At length {length}{times}, {best.name} is {estimate(best.summary[name])} nats above the floor of that length"
    return f"{text}, {last.name} {estimate(last.summary[name])}." if last is not best else f"{text}."


def _absent(task: Task) -> str:
    absent = [run for run in task.runs if not run.evaluation.get("seeds")]
    return f"Without results: {', '.join(f'{run.name} ({run.missing})' for run in absent)}." if absent else ""


def _seeds(run: Run) -> str:
    return f"{len(run.seeds)} seed{'s' * (len(run.seeds) != 1)}"
