"""params.yaml as a whole: tasks, runs, groups of model variants, sweeps, pairs, and what they must agree on."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

from picollm.blocks import Cell, Pair, Sweep
from picollm.core import config, registry
from picollm.core.config import at_budget, parse
from picollm.core.errors import UserError, did_you_mean
from picollm.training.recipe import Recipe, Run

SECTIONS = ("budget", "device", "threads", "samples", "interpret", "tasks", "runs", "variants", "sweeps", "pairs")
NAMED = SECTIONS[5:]  # whose entries have names that become those of stages, files and folders
NAME = re.compile(r"\w[\w-]*")
MOST_THREADS = 1024
EQUAL = 0.02  # share by which the parameters of a sweep's variants may differ from the first's


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

    def entry(self, section: str, name: str) -> dict[str, Any]:
        """A named block as it is written, at the budget. Raises UserError where there is none."""
        entries = self.params[section]
        if name not in entries:
            raise UserError(f"{section}.{name}: no such entry {did_you_mean(name, entries)}")
        entry = entries[name]
        if not isinstance(entry, dict):
            raise UserError(f"{section}.{name}: must be a block of parameters, not {entry!r}")
        return entry

    def task(self, name: str) -> tuple[Any, Any]:
        """The module of the task's kind (generate, tokenize, ...) and its configuration."""
        return self._task(self.entry("tasks", name), f"tasks.{name}")

    def _task(self, block: dict[str, Any], path: str) -> tuple[Any, Any]:
        module = registry.load("tasks", block.get("kind"), f"{path}.kind")
        return module, parse(module.Config, block, path)

    def run(self, name: str) -> Run:
        return self._checked(parse(Run, self.entry("runs", name), f"runs.{name}"), f"runs.{name}")

    def _checked(self, run: Run, path: str) -> Run:
        """The model's block against the model's own Config, and the task's name against the tasks."""
        _model(run.model, f"{path}.model")
        self._known("tasks", run.task, f"{path}.task")
        return run

    def _known(self, section: str, name: str, path: str) -> None:
        if name not in self.params[section]:
            raise UserError(f"{path}: unknown {name!r} {did_you_mean(name, self.params[section])}")

    def variants(self, group: str) -> dict[str, dict[str, Any]]:
        """The `model:` blocks of a group, each checked against its model's Config."""
        blocks = self.entry("variants", group)
        if not blocks:
            raise UserError(f"variants.{group}: is empty; give it complete model blocks, such as softmax: {{kind: transformer, attention: softmax}}")
        for name, block in blocks.items():
            path = f"variants.{group}.{name}"
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UserError(f"{path}: a name is text of letters, digits, _ and -; choose another")
            if not isinstance(block, dict):
                raise UserError(f"{path}: must be a block of a model's parameters, not {block!r}")
            _model(block, path)
        return blocks

    def sweep(self, name: str) -> tuple[Sweep, list[Cell]]:
        """The sweep and its cells, variant by variant."""
        path = f"sweeps.{name}"
        sweep = parse(Sweep, self.entry("sweeps", name), path)
        bases = self._variant_bases(sweep, path) if sweep.group else {None: self._run_base(sweep, path)}
        short = {dotted: dotted.split(".")[-1] for dotted in sweep.grid}
        if len(set(short.values())) < len(short):
            short = {dotted: dotted for dotted in short}
        where = f"{path}.grid" if sweep.grid else path
        cells = []
        for variant, base in bases.items():
            for values in product(*sweep.grid.values()):
                point = dict(zip(sweep.grid, values, strict=True))
                block, task = base, {key.removeprefix("task."): value for key, value in point.items() if key.startswith("task.")}
                try:
                    for dotted, value in point.items():
                        if not dotted.startswith("task."):
                            block = _with(block, dotted.split("."), value, f"{where}.{dotted}")
                    run = self._checked(parse(Run, block, where), where)
                    if task:
                        task = {**self.entry("tasks", sweep.task), **task}
                        self._task(task, f"{where}.task")
                except UserError as error:
                    if variant is None:
                        raise
                    raise UserError(f"{error} (variant {variant})") from error
                label = " ".join([*([variant] if variant else []), *(f"{short[dotted]}={value}" for dotted, value in point.items())])
                run = replace(run, seeds=sweep.seeds, training=replace(run.training, snapshots=0))  # nobody would look at them
                cells.append(Cell(label, variant, point, run, task or None))
        return sweep, cells

    def _run_base(self, sweep: Sweep, path: str) -> dict[str, Any]:
        name = sweep.base.partition(".")[2]
        self._known("runs", name, f"{path}.base")
        base = self.entry("runs", name)
        if sweep.task != base.get("task"):
            raise UserError(f"{path}.task: is {sweep.task!r}, but its run {name} is trained on {base.get('task')!r}; write that")
        return base

    def _variant_bases(self, sweep: Sweep, path: str) -> dict[str | None, dict[str, Any]]:
        """A run's block for each variant that the sweep takes of its group, in the group's order."""
        assert sweep.group
        assert sweep.training is not None
        self._known("variants", sweep.group, f"{path}.base")
        self._known("tasks", sweep.task, f"{path}.task")
        blocks = self.variants(sweep.group)
        for name in sweep.only or ():
            if name not in blocks:
                raise UserError(f"{path}.only: unknown variant {name!r} {did_you_mean(name, blocks)}")
        if not any(dotted.startswith("training.") for dotted in sweep.grid):  # else the grid may hold what it lacks
            parse(Recipe, sweep.training, f"{path}.training")
        common = {"task": sweep.task, "seeds": sweep.seeds, "training": sweep.training}
        return {name: {**common, "model": block} for name, block in blocks.items() if sweep.only is None or name in sweep.only}

    def pair(self, name: str) -> Pair:
        """Raises UserError for runs that there are not, or that are not trained on the same task."""
        path = f"pairs.{name}"
        pair = parse(Pair, self.entry("pairs", name), path)
        runs = {side: checkpoint.partition("/")[0] for side, checkpoint in (("left", pair.left), ("right", pair.right))}
        for side, run in runs.items():
            self._known("runs", run, f"{path}.{side}")
        left, right = (self.run(run).task for run in runs.values())
        if left != right:
            raise UserError(f"{path}.right: {runs['right']} is trained on {right}, {runs['left']} on {left}; name runs of one task")
        return pair

    def check(self) -> None:
        """Everything, before any stage does any work. Raises UserError for the first mistake."""
        for name in self.params["tasks"]:
            module, block = self.task(name)
            if hasattr(module, "check"):  # what no parameter tells, such as whether a file is there
                module.check(block, f"tasks.{name}")
        for name in self.params["runs"]:
            self._fits(self.run(name), f"runs.{name}")
        for group in self.params["variants"]:
            self.variants(group)
        for name in self.params["sweeps"]:
            sweep, cells = self.sweep(name)
            for cell in cells:
                self._fits(cell.run, f"sweeps.{name}{'.grid' if sweep.grid else ''}", cell.task)
            vocab_size = getattr(self.task(sweep.task)[1], "vocab_size", None)
            if vocab_size and sweep.seeds and not any(cell.task for cell in cells):
                check_equal(name, sweep, cells, vocab_size)
        for name in self.params["pairs"]:
            self.pair(name)

    def _fits(self, run: Run, path: str, block: dict[str, Any] | None = None) -> None:
        """The recipe and the model's positions against the task (or a `block` of its own), whose module a training itself does without."""
        _, task = self._task(block, f"{path}.task") if block else self.task(run.task)
        try:
            length = task.trained_length(run.training)
        except ValueError as error:
            raise UserError(f"{path}.training.{error}") from error
        model = _model(run.model, f"{path}.model")
        limit, chunk, begin = getattr(model, "max_length", None), getattr(model, "chunk", None), run.training.initial_state
        if chunk is not None and chunk > length:
            raise UserError(f"{path}.model.chunk: {chunk} tokens are longer than any sequence in training, of {length}; lower it, or remove it for the default")
        if begin not in getattr(model, "initial_states", ("zeros",)):
            raise UserError(f"{path}.training.initial_state: {begin} is not for this model, whose states cannot begin so; take zeros")
        if hasattr(task, "check_model"):
            try:
                task.check_model(run.model)
            except ValueError as error:
                raise UserError(f"{path}.model.{error}") from error
        if limit is not None and length > limit:
            raise UserError(f"{path}.model: takes at most {limit} tokens at once, its training gives it {length}; lengthen it or shorten those")


def check_equal(name: str, sweep: Sweep, cells: Iterable[Cell], vocab_size: int) -> None:
    """Raises UserError for a variant that is not of the first's size at the same point of the grid."""
    if not sweep.group or not sweep.equal_parameters:
        return
    firsts: dict[str, tuple[str | None, int]] = {}
    for cell in cells:
        count = n_parameters(json.dumps(cell.run.model, sort_keys=True), vocab_size)
        first, expected = firsts.setdefault(json.dumps(cell.point), (cell.variant, count))
        if abs(count - expected) > EQUAL * expected:
            share = f"{100 * (count / expected - 1):+.1f} %"
            raise UserError(
                f"sweeps.{name}.base: {sweep.base}.{cell.variant} has {count:,} parameters, {share} against the {expected:,} of {first}; "
                f"bring them within {100 * EQUAL:g} %, or set equal_parameters: false"
            )


@cache
def n_parameters(model: str, vocab_size: int) -> int:
    """Of a `model:` block, as JSON. Built to be counted: on torch's meta device, which would be lighter, not every model can be built."""
    from picollm import models  # here, as it brings torch: most stages read parameters without

    return models.build(json.loads(model), vocab_size, "model").n_parameters


def _model(block: dict[str, Any], path: str) -> Any:
    """The model's configuration."""
    from picollm import models  # likewise

    return models.configure(block, path)


def _with(block: dict[str, Any], keys: list[str], value: Any, path: str) -> dict[str, Any]:
    """A copy of `block` with the entry at `keys` set."""
    if len(keys) == 1:
        return {**block, keys[0]: value}
    inner = block.get(keys[0], {})
    if not isinstance(inner, dict):
        raise UserError(f"{path}: {keys[0]} is not a block of parameters")
    return {**block, keys[0]: _with(inner, keys[1:], value, path)}
