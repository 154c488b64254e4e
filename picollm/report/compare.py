"""Every run of every task side by side: one JSON for `dvc metrics diff`, CSV and PNG for `dvc plots`, one page for people."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picollm.core.files import write_csv, write_json, write_text
from picollm.report import claims, figures, ledger, page, verdicts
from picollm.report import sweeps as variants
from picollm.report.collect import LONGER, Sweep, Task, collect, longer
from picollm.report.figures import Rows
from picollm.report.markdown import markdown
from picollm.report.sides import Sides

RIGHT = ("proof_failures", "strata_exact", "exact", "heldout_arithmetic_accuracy", "accuracy_identified", "test_accuracy", "accuracy")  # the first there is


def compare(params: dict[str, Any], root: Path, raw: dict[str, Any] | None = None) -> list[Task]:
    """Write metrics/compare.json and claims.json, plots/compare/, plots/report.html and plots/report.md under `root`; -> the tasks with their runs.

    params: params.yaml resolved for its budget. raw: as written, with the values of every budget.
    """
    tasks, sweeps = collect(params, root)
    known = claims.load()
    claims.check(known, params)
    judged = ledger.judge(known, Sides(params, raw or params, tasks, sweeps)) if claims.known(known, params) else []
    write_json(root / "metrics" / "compare.json", {**headlines(tasks, sweeps), **({"claims": ledger.counts(judged)} if judged else {})})
    write_json(root / "metrics" / "claims.json", verdicts.headlines(judged))
    folder = root / "plots" / "compare"
    shutil.rmtree(folder, ignore_errors=True)  # it is ours, and a removed task must not stay in it
    folder.mkdir(parents=True)
    for task in tasks:
        draw(task, folder)
    report = page.build(params, tasks, sweeps, judged)
    write_text(root / "plots" / "report.html", page.html(report))
    write_text(root / "plots" / "report.md", markdown(report))
    return tasks


def headlines(tasks: Sequence[Task], sweeps: Sequence[Sweep] = ()) -> dict[str, dict[str, float]]:
    """{run: {metric: mean over its seeds}}, {"sweep NAME": {...}} of variants: the few numbers worth a column in `dvc exp show`."""
    result = {f"sweep {sweep.name}": found for sweep in sweeps if (found := variants.headlines(sweep))}
    for task in tasks:
        for run in task.runs:
            right = [name for name in RIGHT if run.summary.get(name)][:1]
            first = [name for name in (task.primary, "validation_loss") if run.summary.get(name)][:1]  # one that was only trained has the latter
            names = [*first, *right, *(f"{LONGER}{length}" for length in longer(run)[-1:])]
            means = {name: run.summary[name]["mean"] for name in names}
            if "value" in (labelled := run.interpret.get("head_roles", {}).get("metrics", {}).get("labelled", {})):
                means["heads_labelled"] = labelled["value"]
            if means:
                result[run.name] = means
    return result


def draw(task: Task, folder: Path) -> None:
    """The curves of a task: PNG, and the data as long CSV."""
    style = {run.name: run.style for run in task.runs}
    trained = {run.name: run.curve for run in task.runs if run.curve}
    if trained:
        _write_long(folder / f"{task.name}_loss.csv", trained, ("seed", "step", "train_loss", "validation_loss"))
        figures.save(figures.training_curves({run: [rows] for run, rows in trained.items()}, floor=task.floor, style=style), folder / f"{task.name}_loss.png")
    tested = {run.name: run.lengths for run in task.runs if run.lengths}
    if tested:
        _write_long(folder / f"{task.name}_lengths.csv", tested, ("seed", "length", "family", "loss", "floor", "excess", "accuracy"))
        figures.save(figures.lengths(tested, trained=task.trained, style=style, unit=task.unit), folder / f"{task.name}_lengths.png")


def _write_long(path: Path, tables: Mapping[str, Rows], columns: Sequence[str]) -> None:
    """One table of all runs: the run's name, then these columns of each of its rows."""
    write_csv(path, ["run", *columns], ({"run": run, **row} for run, rows in tables.items() for row in rows))
