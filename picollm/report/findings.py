"""The answer in a few lines: sentences whose every number comes from the metrics."""

from collections import defaultdict
from collections.abc import Sequence

from picollm.report import sweeps
from picollm.report.collect import LONGER, Run, Sweep, Task, groups, longer, paired
from picollm.report.writing import estimate, number, title, verdict

UNITS = {
    "excess": "nats above the exact floor",
    "excess_bits_per_byte": "bits per byte above the exact floor",
    "bits_per_byte": "bits per byte (no floor is known)",
}
SHOWN = 4  # runs listed by name in one sentence
LINES = 9  # of the answer, beside the one on claims


def answer(tasks: Sequence[Task], found: Sequence[Sweep]) -> list[tuple[str, str]]:
    """[(task or group of variants, a sentence)]: what matters most of each, of tasks with a floor first where there are too many."""
    said = [(task, line) for task in tasks if (line := _first(task))]
    swept = [(f"variants of {group}", line) for group, line in _solved(found)]
    kept = {task.name for task, _ in sorted(said, key=lambda one: one[0].primary == "bits_per_byte")[: max(0, LINES - len(swept))]}
    return [*((task.name, line) for task, line in said if task.name in kept), *swept]


def sentences(task: Task, swept: Sequence[Sweep] = ()) -> list[str]:
    """What the runs and sweeps of a task say: distance to the floor, one-parameter comparisons, longer sequences, variants, what is missing."""
    name, runs = task.primary, _ranked(task)
    own = (_floor(task, runs, name), _pairs(task, name), _beyond(task, runs), _absent(task)) if runs else ()
    return [text for text in (*own, *map(_variants, swept)) if text] or ["No results in this budget."]


def _first(task: Task) -> str:
    runs = _ranked(task)
    if not runs:
        return ""
    return (task.kind == "addition" and (_beyond(task, runs) or _right(runs))) or _floor(task, runs, task.primary)


def _right(runs: Sequence[Run]) -> str:
    names = {"exact": "of the test problems", "strata_exact": "of those of rare kinds"}
    parts = [
        f"{run.name} {' and '.join(f'{estimate(run.summary[name], percent=True)} % {of}' for name, of in names.items() if run.summary.get(name))}"
        for run in runs[:SHOWN]
    ]
    return f"Right: {', '.join(parts)}."


def _ranked(task: Task) -> list[Run]:
    """The runs with results, the best first."""
    name = task.primary
    return sorted((run for run in task.evaluated if run.summary.get(name)), key=lambda run: run.summary[name]["mean"])


def _solved(found: Sequence[Sweep]) -> list[tuple[str, str]]:
    """[(group, which of its variants succeed in every seed, task by task)]"""
    parts: dict[str, list[str]] = defaultdict(list)
    for sweep in found:
        if sweep.group and sweep.cells and sweep.config.get("success"):
            right = [str(cell["variant"]) for cell in sweeps.chosen(sweep) if sweeps.all_solved(cell)]
            parts[sweep.group].append(f"{sweep.name} ({sweeps.success(sweep)}): {', '.join(right) or 'none'} of {len(sweeps.chosen(sweep))}")
    return [(group, f"With success in every seed, {'; '.join(lines)}.") for group, lines in parts.items()]


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
    if task.kind == "addition":
        return _longest_sums(task, runs, length)
    name = f"{LONGER}{length}"
    there = sorted((run for run in runs if run.summary.get(name)), key=lambda run: run.summary[name]["mean"])
    if not there:
        return ""
    best, last = there[0], there[-1]
    times = f" ({length / task.trained:g} times the longest trained)" if task.trained and length else ""
    text = f"At length {length}{times}, {best.name} is {estimate(best.summary[name])} nats above the floor of that length"
    return f"{text}, {last.name} {estimate(last.summary[name])}." if last is not best else f"{text}."


def _longest_sums(task: Task, runs: Sequence[Run], length: int | None) -> str:
    """The share of whole answers that are right says more than a loss near 0."""
    name = f"exact_{length}"
    there = sorted((run for run in runs if run.summary.get(name)), key=lambda run: -run.summary[name]["mean"])
    beyond = f", {length / task.trained:g} times the longest trained" if task.trained and length and length > task.trained else ""
    parts = [f"{run.name} {estimate(run.summary[name], percent=True)} %" for run in there[:SHOWN]]
    right = f"Right on sums of {length} digits{beyond}: {', '.join(parts)}." if parts else ""
    return " ".join(text for text in (_proved(runs), right) if text)


def _proved(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        proofs = [seed["proof"] for seed in run.evaluation["seeds"].values() if "holds" in seed.get("proof", {})]
        if proofs:
            failures = max(proof["failures"] for proof in proofs)
            most = f", with at most {failures:,} failures elsewhere" if failures else ""
            parts.append(f"{run.name} in {sum(bool(proof['holds']) for proof in proofs)} of {len(proofs)} seeds{most}")
    return f"Proved right on every pair of its range: {'; '.join(parts)}." if parts else ""


def _variants(sweep: Sweep) -> str:
    name = sweeps.primary(sweep)
    cells = sorted((cell for cell in sweeps.chosen(sweep) if cell["summary"].get(name)), key=lambda cell: cell["summary"][name]["mean"])
    if not sweep.group or len(cells) < 2:
        return ""
    best, last = cells[0], cells[-1]
    low, high = (f"{cell['variant']} ({estimate(cell['summary'][name])})" for cell in (best, last))
    text = f"Of {len(cells)} variants of {sweep.group} ({sweeps.terms(sweep)}), {low} has the lowest {title(name)} and {high} the highest."
    if sweep.config.get("success"):
        right = [str(cell["variant"]) for cell in cells if sweeps.all_solved(cell)]
        text += f" With {sweeps.success(sweep)} in every seed: {', '.join(right) or 'none'}."
    return text


def _absent(task: Task) -> str:
    absent = [run for run in task.runs if not run.evaluation.get("seeds")]
    return f"Without results: {', '.join(f'{run.name} ({run.missing})' for run in absent)}." if absent else ""


def _seeds(run: Run) -> str:
    return f"{len(run.seeds)} seed{'s' * (len(run.seeds) != 1)}"
