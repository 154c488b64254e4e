"""What a claim compares, found among the results: a run, or a cell of a sweep; and where there is none, why, and the command that makes it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picollm.core.config import BUDGETS, at_budget
from picollm.core.errors import did_you_mean
from picollm.report import seeds
from picollm.report.claims import short
from picollm.report.collect import Run, Sweep, Task
from picollm.report.seeds import Values

STREAM = ("data", "batch_size", "context", "examples", "max_steps_per_epoch")  # of a recipe: what a seed is shown, beside its task


@dataclass(frozen=True)
class Side:
    label: str
    values: Values
    stream: tuple[Any, ...]  # the same for sides whose seeds saw the same data


@dataclass(frozen=True)
class Missing:
    reason: str
    command: str = ""


def stream(task: Any, training: Mapping[str, Any], changed: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides the data of a seed. changed: a grid's values, by dotted name."""
    recipe = {**training, **{name.removeprefix("training."): value for name, value in changed.items()}}
    own = tuple(sorted((name, str(value)) for name, value in changed.items() if name.startswith("task.")))
    return (task, own, *(recipe.get(name) for name in STREAM))


class Sides:
    """raw: params.yaml as written, with every budget's values; params: as resolved for one."""

    def __init__(self, params: Mapping[str, Any], raw: Mapping[str, Any], tasks: Sequence[Task], sweeps: Sequence[Sweep]) -> None:
        self.budget, self.raw = str(params.get("budget")), raw
        self.runs: dict[str, Run] = {run.name: run for task in tasks for run in task.runs}
        self.sweeps = {sweep.name: sweep for sweep in sweeps}

    def find(self, name: str, metric: str) -> Side | Missing:
        return self._cell(name, metric) if "/" in name else self._run(name, metric)

    def analysis(self, name: str, metric: str) -> Mapping[str, float] | Missing:
        """The estimate that an analysis made, of the run's first seed."""
        analysis, _, key = metric.partition(".")
        run = self.runs.get(name)
        if run is None:
            return Missing(f"params.yaml has no run {name}")
        if run.missing:
            return Missing(f"{name}: {run.missing}", self._command(name, "interpret"))
        found = run.interpret.get(analysis, {})
        if "skipped" in found:
            return Missing(f"{analysis} of {name}: {found['skipped']}")
        metrics = found.get("metrics", {})
        if not metrics:
            return Missing(f"{analysis} of {name}: no results", shlex.join(["dvc", "repro", f"interpret@{name}"]))
        if key not in metrics:
            return Missing(f"{analysis} of {name} has no {key!r} {did_you_mean(key, metrics)}")
        estimate: Mapping[str, float] = metrics[key]
        return estimate

    def too_few(self, name: str) -> Missing:
        return Missing(f"{name}: one seed allows no interval", self._command(name, least=2))

    def _run(self, name: str, metric: str) -> Side | Missing:
        run = self.runs.get(name)
        if run is None:
            return Missing(f"params.yaml has no run {name}")
        if run.missing:
            return Missing(f"{name}: {run.missing}", self._command(name))
        values = seeds.of_run(run, metric)
        if not values:
            return Missing(f"{name}: {metric} was not measured at this budget")
        return Side(name, values, stream(run.config.get("task"), run.config.get("training") or {}, {}))

    def _cell(self, side: str, metric: str) -> Side | Missing:
        name, _, wanted = side.partition("/")
        sweep = self.sweeps.get(name)
        if sweep is None:
            return Missing(f"params.yaml has no sweep {name}")
        if not sweep.cells:
            reason = f"not part of budget {self.budget}" if sweep.config.get("seeds") == 0 else "no results"
            return Missing(f"sweep {name}: {reason}", self._command(side))
        if (measured := sweep.result.get("budget", self.budget)) != self.budget:
            return Missing(f"sweep {name}: results of budget {measured}, not of {self.budget}", self._command(side))
        cells = [cell for cell in sweep.cells if set(wanted.split()) <= set(cell["label"].split())]
        if len(cells) != 1:
            reason = f"{len(cells)} cells match {wanted!r}" if cells else f"no cell {wanted!r} at budget {self.budget}"
            return Missing(f"sweep {name}: {reason}", "" if cells else self._command(side))
        values = seeds.of_cell(cells[0], metric)
        if not values:
            return Missing(f"{side}: {metric} was not measured at this budget")
        base = (self.raw.get("runs") or {}).get(str(sweep.config.get("base")).removeprefix("runs."), {})
        training = sweep.config.get("training") or at_budget(base.get("training") or {}, self.budget, "training")
        return Side(side, values, stream(sweep.config.get("task"), training, cells[0]["point"]))

    def _command(self, side: str, stage: str = "evaluate", least: int = 1) -> str:
        """That makes the results of a run or of a cell: at this budget, or the smallest that has them; empty where none has."""
        name, slash, wanted = side.partition("/")
        target = f"sweep@{name}" if slash else f"{stage}@{name}"
        fitting = [budget for budget in BUDGETS if self._has(budget, name, wanted.split() if slash else None, least)]
        if self.budget in fitting:
            return shlex.join(["dvc", "repro", target])
        return shlex.join(["dvc", "exp", "run", "-S", f"budget={fitting[0]}", target]) if fitting else ""

    def _has(self, budget: str, name: str, wanted: list[str] | None, least: int) -> bool:
        section = "runs" if wanted is None else "sweeps"
        block = at_budget((self.raw.get(section) or {}).get(name, {}), budget, f"{section}.{name}")
        return block.get("seeds", 0) >= least and (wanted is None or all(token in list(self._tokens(block)) for token in wanted))

    def _tokens(self, block: Mapping[str, Any]) -> Iterator[str]:
        """Of what the labels of a sweep's cells are made."""
        kind, _, group = str(block.get("base")).partition(".")
        if kind == "variants":
            yield from block.get("only") or (self.raw.get("variants") or {}).get(group, {})
        grid = block.get("grid") or {}
        for dotted, name in short(grid).items():
            yield from (f"{name}={value}" for value in grid[dotted])
