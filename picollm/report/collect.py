"""What the stages left for the runs that params.yaml names, read into plain objects.

Files of runs that were removed from params.yaml lie around and are not read; files that a run does not have yet are
said to be missing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_json, read_record
from picollm.core.statistics import Summary, summary
from picollm.report import figures
from picollm.report.figures import Rows, Style

LONGER = "excess_"  # the summaries excess_32, excess_64, ...: paired excess at that length


@dataclass(frozen=True)
class Run:
    """A run of params.yaml with what its stages left; empty is what is not there."""

    name: str
    config: dict[str, Any]
    style: Style
    missing: str = ""  # why there is no result
    train: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    interpret: dict[str, Any] = field(default_factory=dict)
    curve: Rows = ()
    lengths: Rows = ()
    pairs: Rows = ()  # as lengths, of a task that grows by them
    positions: Rows = ()
    samples: Sequence[dict[str, Any]] = ()  # {"prompt", "setting", "text"}
    sampling: Rows = ()  # {"seed", "setting", measures}, of many texts
    epochs: Sequence[dict[str, Any]] = ()  # {"epoch", "prompt", "setting", "text"}, of a recipe that counts epochs
    pictures: Sequence[Path] = ()  # what interpret drew

    @property
    def summary(self) -> dict[str, Summary]:
        """Every metric of the run; where training and evaluation both measured one, the evaluation's."""
        return {**self.train.get("summary", {}), **self.evaluation.get("summary", {})}

    @property
    def seeds(self) -> list[str]:
        return sorted(self.evaluation.get("seeds") or self.train.get("seeds", {}), key=int)


@dataclass(frozen=True)
class Task:
    name: str
    config: dict[str, Any]
    generated: dict[str, Any]
    tokenized: dict[str, Any]
    runs: list[Run] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.config.get("kind"))

    @property
    def evaluated(self) -> list[Run]:
        return [run for run in self.runs if run.evaluation.get("seeds")]

    def mean(self, metric: str) -> float | None:
        """The mean of a metric that belongs to the test data and is thus the same for every run, such as the floor."""
        return next((run.summary[metric]["mean"] for run in self.evaluated if run.summary.get(metric)), None)

    @property
    def floor(self) -> float | None:
        """The exact floor beside the curves of training, nats per token: of numbers the expected one, of a text that of all its validation tokens."""
        exact = self.generated.get("floor")
        return float(exact["loss"]) if exact else self.text_floor("validation")

    @property
    def test_floor(self) -> float | None:
        """The floor beside the test losses of a text, nats per token: of the very documents that were scored against it, which are those that
        fit into the context (evaluation's `floor_loss`); before any run was evaluated, of all tokens of the test split."""
        every = self.text_floor("test")
        scored = None if every is None else self.mean("floor_loss")  # of validation, in a task without a test split
        return every if scored is None else scored

    def text_floor(self, split: str) -> float | None:
        """The floor of all tokens of a split of text, nats per token, as its tokenizer cut them."""
        bits = self.tokenized.get("splits", {}).get(split, {}).get("floor_bits_per_token")
        return None if bits is None else math.log(2) * float(bits)

    @property
    def primary(self) -> str:
        """The metric that runs are judged by: the distance to the floor, bits per byte where a text has none."""
        if self.kind != "text":
            return "excess"
        return "bits_per_byte" if self.evaluated and self.mean("excess_bits_per_byte") is None else "excess_bits_per_byte"

    @property
    def unit(self) -> str:
        """What lengths count."""
        return "digits of each number" if self.kind == "addition" else "tokens"

    @property
    def trained(self) -> int | None:
        """The longest sequence of the training data."""
        if "trained" in self.generated:  # lengths are not in tokens
            return int(self.generated["trained"])
        if self.kind != "text":
            return int(self.tokenized["train"]["row_length"]) if self.tokenized else None
        shortest = {min(int(row["length"]) for row in run.lengths) for run in self.runs if run.lengths}
        return shortest.pop() if len(shortest) == 1 else None  # a text is tested from the trained context upwards


@dataclass(frozen=True)
class Sweep:
    """A sweep of params.yaml with what its stage left."""

    name: str
    config: dict[str, Any]
    result: dict[str, Any]
    tables: Mapping[str, Rows] = field(default_factory=dict)  # over "length", or what else its task grows by
    task: Task | None = None  # None: of a task that params.yaml does not name
    styles: Mapping[str, Style] = field(default_factory=dict)  # of the variants of its group

    @property
    def group(self) -> str | None:
        """The group of model variants that it trains, None for a sweep of a run."""
        kind, _, name = str(self.config.get("base")).partition(".")
        return name if kind == "variants" else None

    @property
    def cells(self) -> list[dict[str, Any]]:
        return list(self.result.get("cells", []))


def collect(params: dict[str, Any], root: Path) -> tuple[list[Task], list[Sweep]]:
    """The tasks of params.yaml with their runs, and its sweeps, in its order."""
    metrics, plots = root / "metrics", root / "plots"
    tasks = {
        name: Task(name, config, read_record(metrics / "generate" / f"{name}.json"), read_record(metrics / "tokenize" / f"{name}.json"))
        for name, config in (params.get("tasks") or {}).items()
    }
    runs = params.get("runs") or {}
    styles = figures.styles(runs)
    for name, config in runs.items():
        if config.get("task") not in tasks:
            raise UserError(f"runs.{name}.task: unknown {config.get('task')!r} {did_you_mean(config.get('task'), tasks)}")
        tasks[config["task"]].runs.append(_run(name, config, styles[name], root, str(params.get("budget"))))
    sweeps = []
    for name, config in (params.get("sweeps") or {}).items():
        result = {} if config.get("seeds") == 0 else read_record(metrics / "sweep" / f"{name}.json")  # files from a budget that had it do not count
        over = {path.stem: _csv(path) for path in sorted((plots / "sweep" / name).glob("*.csv"))} if result else {}
        sweeps.append(Sweep(name, config, result, over, tasks.get(config.get("task"))))
    looks = {group: _looks(blocks, [sweep for sweep in sweeps if sweep.group == group]) for group, blocks in (params.get("variants") or {}).items()}
    return list(tasks.values()), [replace(sweep, styles=looks.get(sweep.group or "", {})) for sweep in sweeps]


def _looks(blocks: Mapping[str, Any], sweeps: Sequence[Sweep]) -> dict[str, Style]:
    """A style for each variant of a group: first for those that some sweep trained, so that few of them look alike."""
    trained = {cell["variant"] for sweep in sweeps for cell in sweep.cells}
    return figures.styles({variant: {} for variant in sorted(blocks, key=lambda variant: variant not in trained)})


def longer(run: Run) -> list[int]:
    """The lengths beyond training at which a run was evaluated, in ascending order."""
    return sorted(int(length) for name in run.summary if name.startswith(LONGER) and (length := name.removeprefix(LONGER)).isdigit())


def per_seed(run: Run, metric: str) -> dict[str, float]:
    """A figure of each seed on the test split: "excess", "families.walk.excess"; of a text on its whole documents, then on all of it."""
    result = {}
    for seed, splits in run.evaluation.get("seeds", {}).items():
        values = flat(splits.get("test") or splits.get("validation") or {})
        found = [values[name] for name in (metric, f"documents.{metric}", f"packed.{metric}") if name in values]
        if found:
            result[seed] = float(found[0])
    return result


def paired(run: Run, reference: Run, metric: str) -> Summary | None:
    """run - reference, seed by seed over the seeds both have: they share their data, so that its luck cancels."""
    ours, theirs = per_seed(run, metric), per_seed(reference, metric)
    differences = [ours[seed] - theirs[seed] for seed in sorted(ours, key=int) if seed in theirs]
    return summary(differences) if differences else None


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"model": {"n_layer": 2}} -> {"model.n_layer": 2}."""
    if not isinstance(value, dict):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key, entry in value.items():
        result |= flat(entry, f"{prefix}.{key}" if prefix else str(key))
    return result


def differences(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The dotted names of the parameters that are not the same in all of `configs`."""
    leaves = [flat(config) for config in configs]
    absent = object()
    return {name for leaf in leaves for name in leaf if any(other.get(name, absent) != leaf[name] for other in leaves)}


def made_of(run: Run) -> dict[str, Any]:
    """What a run is made of, apart from its task and seeds."""
    return {name: run.config.get(name, {}) for name in ("model", "training")}


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs to be compared: the first one left, then those that differ from it in one parameter, whose effect the difference then shows."""
    left, result = list(runs), []
    while left:
        first = left[0]
        group = [first, *(run for run in left[1:] if len(differences([made_of(first), made_of(run)])) == 1)]
        result.append(group)
        left = [run for run in left if all(run is not shown for shown in group)]
    return result


def _run(name: str, config: dict[str, Any], style: Style, root: Path, budget: str) -> Run:
    if config.get("seeds") == 0:  # files from a budget that had it do not count
        return Run(name, config, style, missing=f"not part of budget {budget}")
    metrics, plots = root / "metrics", root / "plots"
    train, evaluation = read_record(metrics / "train" / f"{name}.json"), read_record(metrics / "evaluate" / f"{name}.json")
    return Run(
        name,
        config,
        style,
        missing=_missing(train, evaluation, budget),
        train=train,
        evaluation=evaluation,
        interpret=read_record(metrics / "interpret" / f"{name}.json"),
        curve=_csv(plots / "train" / f"{name}.csv"),
        lengths=_csv(plots / "evaluate" / name / "length.csv"),
        pairs=_csv(plots / "evaluate" / name / "pairs.csv"),
        positions=_csv(plots / "evaluate" / name / "positions.csv"),
        samples=_json(plots / "evaluate" / name / "samples.json") or [],
        sampling=_csv(plots / "evaluate" / name / "sampling.csv"),
        epochs=_json(plots / "evaluate" / name / "epochs.json") or [],
        pictures=sorted((plots / "interpret" / name).glob("*.png")),
    )


def _missing(train: dict[str, Any], evaluation: dict[str, Any], budget: str) -> str:
    if not train:
        return "not trained yet"
    if not train.get("seeds"):
        return f"not part of budget {budget}"
    if not evaluation.get("seeds"):
        return "trained, not evaluated"
    return "" if train.get("budget", budget) == budget else f"results of budget {train['budget']}, not of {budget}"


def _json(path: Path) -> Any:
    return read_json(path) if path.exists() else {}


def _csv(path: Path) -> Rows:
    return figures.read_csv(path) if path.exists() else []
