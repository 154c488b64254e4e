"""params.yaml as a whole: tasks, runs, sweeps, and what they must agree on."""

import re
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from picollm import config, registry
from picollm.config import STRICT, at_budget, parse
from picollm.errors import UserError, did_you_mean
from picollm.training.recipe import Run

SECTIONS = ("budget", "device", "threads", "samples", "interpret", "tasks", "runs", "sweeps")
NAMED = SECTIONS[5:]  # whose entries have names that become those of stages, files and folders
NAME = re.compile(r"\w[\w-]*")
MOST_THREADS = 1024


@dataclass(frozen=True)
class Sweep:
    """A base run trained at every point of a grid of dotted parameters, e.g. {"training.lr": [0.001, 0.002]}."""

    __pydantic_config__ = STRICT

    run: str
    task: str  # the run's own; written out because DVC reads it too
    seeds: int
    grid: dict[str, list[Any]]

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"seeds: must not be negative, not {self.seeds}")
        if not self.grid:
            raise ValueError("grid: is empty; name a parameter and its values, such as training.lr: [0.001, 0.002]")
        for name, values in self.grid.items():
            if not name.startswith(("model.", "training.")):  # its task and seeds are the sweep's own
                raise ValueError(f"grid.{name}: a grid changes the run's model and training; write model.NAME or training.NAME")
            if not values:
                raise ValueError(f"grid.{name}: has no values; give at least one")


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
        self.params = {name: self._section(name, {} if params.get(name) is None else params[name]) for name in SECTIONS[3:]}
        self.device: str = params.get("device", "auto")
        self.threads: int = params.get("threads", 2)
        if not isinstance(self.threads, int) or isinstance(self.threads, bool) or not 1 <= self.threads <= MOST_THREADS:
            raise UserError(f"threads: must be a whole number from 1 to {MOST_THREADS}, not {self.threads!r}")
        if not isinstance(self.device, str):
            raise UserError(f"device: must be auto, cpu, cuda, cuda:N or mps, not {self.device!r}")

    def _section(self, name: str, section: Any) -> dict[str, Any]:
        """At the budget. Named entries are resolved one by one: DVC, which knows no budgets, takes every key of theirs for a name."""
        if not isinstance(section, dict):
            raise UserError(f"{name}: must be a block of named entries, not {section!r}")
        if name not in NAMED:
            resolved: dict[str, Any] = at_budget(section, self.budget, name)
            return resolved
        for entry in section:
            if not isinstance(entry, str) or not NAME.fullmatch(entry):
                raise UserError(f"{name}.{entry}: a name is text of letters, digits, _ and -; choose another")
        return {entry: at_budget(block, self.budget, f"{name}.{entry}") for entry, block in section.items()}

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
        _model(run, path)
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
        path = f"{path}.grid"
        for values in product(*sweep.grid.values()):
            point = dict(zip(sweep.grid, values, strict=True))
            block = base
            for dotted, value in point.items():
                block = _with(block, dotted.split("."), value, f"{path}.{dotted}")
            run = self._checked(parse(Run, block, path), path)
            cells.append((point, replace(run, seeds=sweep.seeds)))
        return sweep, cells

    def check(self) -> None:
        """Everything, before any stage does any work. Raises UserError for the first mistake."""
        for name in self.params["tasks"]:
            module, block = self.task(name)
            if hasattr(module, "check"):  # what no parameter tells, such as whether a file is there
                module.check(block, f"tasks.{name}")
        for name in self.params["runs"]:
            self._fits(self.run(name), f"runs.{name}")
        for name in self.params["sweeps"]:
            for _, run in self.sweep(name)[1]:
                self._fits(run, f"sweeps.{name}.grid")

    def _fits(self, run: Run, path: str) -> None:
        """The recipe and the model's positions against the task, whose module a training itself does without."""
        _, task = self.task(run.task)
        try:
            length = task.trained_length(run.training)
        except ValueError as error:
            raise UserError(f"{path}.training.{error}") from error
        limit = getattr(_model(run, path), "max_length", None)
        if limit is not None and length > limit:
            raise UserError(f"{path}.model: takes at most {limit} tokens at once, its training gives it {length}; lengthen it or shorten those")


def _model(run: Run, path: str) -> Any:
    """The model's configuration."""
    return parse(registry.load("models", run.model.get("kind"), f"{path}.model.kind").Config, run.model, f"{path}.model")


def _with(block: dict[str, Any], keys: list[str], value: Any, path: str) -> dict[str, Any]:
    """A copy of `block` with the entry at `keys` set."""
    if len(keys) == 1:
        return {**block, keys[0]: value}
    inner = block.get(keys[0], {})
    if not isinstance(inner, dict):
        raise UserError(f"{path}: {keys[0]} is not a block of parameters")
    return {**block, keys[0]: _with(inner, keys[1:], value, path)}
