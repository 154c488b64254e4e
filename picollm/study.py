"""params.yaml as a whole: tasks, runs, sweeps, and what they must agree on."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from picollm import config, registry
from picollm.config import STRICT, at_budget, parse
from picollm.errors import UserError, did_you_mean
from picollm.training.recipe import Recipe

SECTIONS = ("budget", "device", "threads", "samples", "interpret", "tasks", "runs", "sweeps")


@dataclass(frozen=True)
class Run:
    """A model trained on a task with a recipe, `seeds` times. 0 seeds: not part of this budget."""

    __pydantic_config__ = STRICT

    task: str
    seeds: int
    training: Recipe
    model: dict[str, Any]  # checked against the model's own Config

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"seeds: must not be negative, not {self.seeds}")


@dataclass(frozen=True)
class Sweep:
    """A base run trained at every point of a grid of dotted parameters, e.g. {"training.lr": [0.001, 0.002]}."""

    __pydantic_config__ = STRICT

    run: str
    task: str  # the run's own; written out because DVC reads it too
    seeds: int
    grid: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"seeds: must not be negative, not {self.seeds}")
        for name, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{name}: has no values")


class Study:
    """The parameters resolved for a budget. Parts are parsed when asked for, so a stage fails on its own part only."""

    def __init__(self, params: dict[str, Any], budget: str | None = None) -> None:
        self.raw = params
        for name in params:
            if name not in SECTIONS:
                raise UserError(f"{name}: unknown section of params.yaml {did_you_mean(name, SECTIONS)}")
        self.budget: str = budget or params.get("budget", "study")
        if self.budget not in config.BUDGETS:
            raise UserError(f"budget: unknown {self.budget!r} {did_you_mean(self.budget, config.BUDGETS)}")
        self.params = {name: at_budget(params.get(name) or {}, self.budget, name) for name in SECTIONS[3:]}
        for name, section in self.params.items():
            if not isinstance(section, dict):
                raise UserError(f"{name}: must be a block of named entries, not {section!r}")
        self.device: str = params.get("device", "auto")
        self.threads: int = params.get("threads", 2)
        if not isinstance(self.threads, int) or isinstance(self.threads, bool) or self.threads < 1:
            raise UserError(f"threads: must be a whole number of at least 1, not {self.threads!r}")
        if not isinstance(self.device, str):
            raise UserError(f"device: must be auto, cpu, cuda, cuda:N or mps, not {self.device!r}")

    def _entry(self, section: str, name: str) -> dict[str, Any]:
        entries = self.params[section]
        if name not in entries:
            raise UserError(f"{section}.{name}: no such entry {did_you_mean(name, entries)}")
        entry = entries[name]
        if not isinstance(entry, dict):
            raise UserError(f"{section}.{name}: must be a block of parameters, not {entry!r}")
        return entry

    def task(self, name: str) -> tuple[Any, Any]:
        """The module of the task's kind (generate, tokenize, ...) and its configuration."""
        entry = self._entry("tasks", name)
        module = registry.load("tasks", entry.get("kind"), f"tasks.{name}.kind")
        return module, parse(module.Config, entry, f"tasks.{name}")

    def run(self, name: str) -> Run:
        return self._checked(parse(Run, self._entry("runs", name), f"runs.{name}"), f"runs.{name}")

    def _checked(self, run: Run, path: str) -> Run:
        """The model's block against the model's own Config, and the task's name against the tasks."""
        entry = registry.load("models", run.model.get("kind"), f"{path}.model.kind")
        parse(entry.Config, run.model, f"{path}.model")
        if run.task not in self.params["tasks"]:
            raise UserError(f"{path}.task: unknown {run.task!r} {did_you_mean(run.task, self.params['tasks'])}")
        return run

    def sweep(self, name: str) -> tuple[Sweep, list[tuple[dict[str, Any], Run]]]:
        """The sweep and its cells: the grid's values of each, and the run they make."""
        path = f"sweeps.{name}"
        sweep = parse(Sweep, self._entry("sweeps", name), path)
        if sweep.run not in self.params["runs"]:
            raise UserError(f"{path}.run: unknown {sweep.run!r} {did_you_mean(sweep.run, self.params['runs'])}")
        base = self._entry("runs", sweep.run)
        if sweep.task != base.get("task"):
            raise UserError(f"{path}.task: is {sweep.task!r}, but its run {sweep.run} is trained on {base.get('task')!r}; write that")
        cells = []
        for values in product(*sweep.grid.values()):
            point = dict(zip(sweep.grid, values, strict=True))
            block = base
            for dotted, value in point.items():
                block = _with(block, dotted.split("."), value, f"{path}.grid.{dotted}")
            run = self._checked(parse(Run, block, f"{path}.grid of runs.{sweep.run}"), f"{path}.grid of runs.{sweep.run}")
            cells.append((point, replace(run, seeds=sweep.seeds)))
        return sweep, cells

    def check(self) -> None:
        """Everything, before any stage does any work. Raises UserError for the first mistake."""
        for name in self.params["tasks"]:
            self.task(name)
        for name in self.params["runs"]:
            self.run(name)
        for name in self.params["sweeps"]:
            self.sweep(name)
        for section in ("tasks", "runs", "sweeps"):
            for name in self.params[section]:  # they become file names and stage names
                if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum():
                    raise UserError(f"{section}.{name}: a name is made of letters, digits, _ and -")


def _with(block: dict[str, Any], keys: list[str], value: Any, path: str) -> dict[str, Any]:
    """A copy of `block` with the entry at `keys` set."""
    if len(keys) == 1:
        return {**block, keys[0]: value}
    inner = block.get(keys[0], {})
    if not isinstance(inner, dict):
        raise UserError(f"{path}: {keys[0]} is not a block of parameters")
    return {**block, keys[0]: _with(inner, keys[1:], value, path)}
