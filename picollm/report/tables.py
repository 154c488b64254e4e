"""The report's tables as plain data, so that the page and the Markdown show the same cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picollm.core.statistics import summary
from picollm.evaluation import skipped
from picollm.report.collect import LONGER, Run, Task, groups, longer, paired, per_seed
from picollm.report.figures import Style
from picollm.report.writing import NONE, estimate, judged_by, metric, number, title, verdict

SURE = (  # at a length
    *("worst_excess", "never_wrong", "never_wrong_identified", "entropy", "bayes_entropy", "calibration_error"),
    *("walk_entropy", "walk_bayes_entropy", "walk_calibration_error"),
)
SPLITS = ("train_loss", "validation_loss", "test_loss", "train_accuracy", "validation_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Row:
    """kind: "run", "floor" or "control". A note stands in place of the cells of a run without results."""

    label: str
    cells: Sequence[str] = ()
    kind: str = "run"
    style: Style | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def results(task: Task) -> Table:
    """Run x headline metrics, with the exact floor and the controls as rows of the same table."""
    others = references(task)
    known = {name for _, _, values in others for name in values}
    columns = [name for name in judged_by(task.kind) if name in known or _measured(task.runs, [name])]
    head = ["run", *(title(name) for name in columns), "seeds", "parameters"]
    rows = [_row(run, [*(metric(run.summary, name) for name in columns), _seeds(run), _count(run.train.get("parameters"))]) for run in task.runs]
    rows += [
        Row(label, [*(metric({name: {"mean": values[name]}} if name in values else {}, name) for name in columns), NONE, NONE], kind)
        for label, kind, values in others
    ]
    return Table("Mean over seeds ± half the 95 % interval (t). Losses are nats per token.", head, rows)


def splits(task: Task) -> Table | None:
    """Training, validation and test side by side: what shows overfitting. None where nothing was measured."""
    columns = _measured(task.runs, SPLITS)
    head = ["run", *(title(name) for name in columns)]
    rows = [_row(run, [metric(run.summary, name) for name in columns]) for run in task.runs]
    return Table("Loss and accuracy on each split.", head, rows) if columns else None


def sources(task: Task) -> Table | None:
    """A mixture source by source: what was asked for, what was drawn, and the losses; None for a task of one source."""
    weights = {name: source["weight"] for name, source in task.tokenized.get("sources", {}).items()}
    names = _measured(task.runs, [f"{name}_{source}" for name in ("validation_loss", "test_loss", "bits_per_byte") for source in weights])
    if not names:
        return None
    columns = list(dict.fromkeys(name.removesuffix(f"_{source}") for source in weights for name in names if name.endswith(f"_{source}")))
    rows = []
    for run in task.runs:
        drawn = run.train.get("sources", {}).values()
        for source, weight in weights.items():
            share = estimate(summary([seed[source] for seed in drawn]), percent=True) if drawn else NONE
            cells = [number(100 * weight), share, *(metric(run.summary, f"{column}_{source}") for column in columns)]
            rows.append(Row(f"{run.name}, {source}", cells, style=run.style))
    return Table("Source by source, in nats per token.", ["run, source", "weight, %", "drawn, %", *map(title, columns)], rows)


def unseen(task: Task) -> Table | None:
    """Stories of templates and of combinations that training never shows, against those like the training's; None where a task has no such."""
    heldout = dict.fromkeys(name for run in task.runs for name in run.summary if name.startswith("excess_bits_per_byte_heldout"))
    if not heldout:
        return None
    names = ["excess_bits_per_byte", *heldout]
    rows = [_row(run, [metric(run.summary, name) for name in names]) for run in task.runs]
    caption = "Excess bits per byte on whole stories. Of held-out ones the floor is that of the full grammar, which knows them."
    return Table(caption, ["run", "test", *(name.removeprefix("excess_bits_per_byte_").replace("_", " ") for name in names[1:])], rows)


def minimal(task: Task) -> Table | None:
    """How often the right text of a minimal pair is the likelier one, by category of sentences."""
    names = list(dict.fromkeys(name for run in task.runs for name in run.summary if name.startswith("pairs_accuracy")))
    if not names:
        return None
    rows = [_row(run, [metric(run.summary, name) for name in names]) for run in task.runs]
    caption = "Minimal pairs, %: how often a text is more likely than the same with one mistake; chance is 50."
    return Table(caption, ["run", *(name.removeprefix("pairs_accuracy").strip("_").replace("_", " ") or "all" for name in names)], rows)


def beyond(task: Task) -> Table | None:
    """Paired excess at every length beyond training, with the floor of each length; None where nothing was measured."""
    columns = sorted({length for run in task.runs for length in longer(run)})
    if not columns:
        return _windows(task) if task.kind == "text" else None
    floor = task.generated.get("lengths", {})
    rows = [_row(run, [metric(run.summary, f"{LONGER}{length}") for length in columns]) for run in task.runs]
    rows.append(Row("exact floor, nats", [number(floor[str(length)]["loss"]) if str(length) in floor else NONE for length in columns], "floor"))
    return Table(f"Excess over the exact floor by sequence length, nats per token.{_trained(task)}", ["run", *map(str, columns)], rows, _skips(task))


def right_beyond(task: Task) -> Table | None:
    """Accuracy at the same lengths: what says more where the floor is 0 and an answer is right or wrong."""
    names = {length: f"accuracy_{length}" for length in sorted({length for run in task.runs for length in longer(run)})}
    names = {length: name for length, name in names.items() if _measured(task.runs, [name])}
    rows = [_row(run, [metric(run.summary, name) for name in names.values()]) for run in task.runs]
    return Table(f"Accuracy by sequence length, %.{_trained(task)}", ["run", *map(str, names)], rows) if names else None


def sure_beyond(task: Task) -> Table | None:
    """At the longest sequences: the worst position, the share without one wrong prediction, and how far confidence is from hits."""
    lengths = sorted({length for run in task.runs for length in longer(run)})
    names = _measured(task.runs, [f"{name}_{length}" for length in lengths[-1:] for name in SURE])
    if not names:
        return None
    rows = [_row(run, [metric(run.summary, name) for name in names]) for run in task.runs]
    head = ["run", *(title(name.removesuffix(f"_{lengths[-1]}")) for name in names)]
    return Table(f"At length {lengths[-1]}: where the worst position stands, and how sure the model is.{_trained(task)}", head, rows)


def _trained(task: Task) -> str:
    return f" Trained up to length {task.trained}." if task.trained else ""


def _windows(task: Task) -> Table | None:
    """Loss on longer windows of a text: they cut its documents, so that no floor is known for them."""
    columns = sorted({int(row["length"]) for run in task.runs for row in run.lengths})
    rows = []
    for run in task.runs:
        found = [[float(row["loss"]) for row in run.lengths if int(row["length"]) == length] for length in columns]
        rows.append(_row(run, [estimate(summary(values)) if values else NONE for values in found]))
    return Table("Loss on windows of this many tokens, nats per token.", ["run", *map(str, columns)], rows, _skips(task)) if columns else None


def _skips(task: Task) -> list[str]:
    reasons = {run.name: sorted(set(skipped(run.evaluation.get("seeds")).values())) for run in task.runs}
    return [f"{name}: {'; '.join(reason)}." for name, reason in reasons.items() if reason]


def families(task: Task) -> Table | None:
    """Excess by family of sequences on the test split, with the floor of each; None where a task has no families."""
    floors = task.generated.get("floor", {}).get("families", {})
    if not floors or not task.evaluated:
        return None
    rows = []
    for run in task.runs:
        found = [list(per_seed(run, f"families.{name}.excess").values()) for name in floors]
        rows.append(_row(run, [estimate(summary(values)) if values else NONE for values in found]))
    rows.append(Row("exact floor, nats", [number(floor["loss"]) for floor in floors.values()], "floor"))
    return Table("Excess over the exact floor by family of sequences, test split, nats per token.", ["run", *floors], rows)


def behind(group: Sequence[Run]) -> Table | None:
    """The numbers of the analyses, each beside what untrained models of the same shape give."""
    found = [estimates(run.interpret) for run in group]
    names = list(dict.fromkeys(name for one in found for name in one))
    rows = [Row(name, [against(one.get(name)) for one in found], kind="cell") for name in names]
    return Table("In brackets: the range over untrained models.", ["analysis", *(run.name for run in group)], rows) if rows else None


def estimates(value: Any, path: tuple[str, ...] = ()) -> dict[str, Mapping[str, float]]:
    """{name: estimate} of everything that has a "value" in what the interpretation wrote."""
    if not isinstance(value, dict):
        return {}
    if isinstance(value.get("value"), int | float):
        return {" ".join(path): value}
    return {name: found for key, entry in value.items() for name, found in estimates(entry, path if key == "metrics" else (*path, key)).items()}


def against(value: Mapping[str, float] | None) -> str:
    if value is None:
        return NONE
    null = f" [{number(value['untrained_low'])}, {number(value['untrained_high'])}]" if "untrained_low" in value else ""
    return number(value["value"]) + null


def pairs(task: Task) -> Table | None:
    """Runs that differ in one parameter, seed by seed; None where there is no such pair."""
    name = task.primary
    rows = []
    for first, *others in groups(task.evaluated):
        for run in others:
            difference = paired(run, first, name)
            if difference:
                rows.append(Row(f"{run.name} minus {first.name}", [str(int(difference["n"])), estimate(difference), verdict(difference)], style=run.style))
    return Table(f"Difference in {title(name)}, seed by seed on the same data.", ["pair", "seeds", "difference", "reading"], rows) if rows else None


def references(task: Task) -> list[tuple[str, str, dict[str, float]]]:
    """(label, kind, {metric: value}) of the exact floor and of the predictors that learn nothing deep."""
    if task.kind == "text":
        return _text_references(task)
    result = []
    floor = task.generated.get("floor")
    if floor:
        identified = list(task.generated.get("identified_accuracy", {}).values())
        best = {"accuracy_identified": sum(identified) / len(identified)} if identified else {}
        right = {"test_accuracy": floor["accuracy"]} if "accuracy" in floor else {}
        result.append(("exact floor, expected", "floor", {"excess": 0.0, "test_loss": floor["loss"], **right, **best}))
        controls = task.generated.get("controls", {})
        for name in sorted(controls, key=lambda name: float(controls[name]["loss"])):
            loss = controls[name]["loss"]
            right = {"test_accuracy": controls[name]["accuracy"]} if "accuracy" in controls[name] else {}
            result.append((name, "control", {"excess": loss - floor["loss"], "test_loss": loss, **right}))
    if (drawn := task.mean("floor")) is not None:  # what the paired excess is counted from
        result.insert(1, ("exact floor, test set", "floor", {"excess": 0.0, "test_loss": drawn}))
    return result


def _text_references(task: Task) -> list[tuple[str, str, dict[str, float]]]:
    result = []
    floors = {name: floor for name, floor in (("validation_loss", task.floor), ("test_loss", task.test_floor)) if floor is not None}
    if floors:
        bits = task.mean("floor_bits_per_byte")
        known = {"bits_per_byte": bits, "excess_bits_per_byte": 0.0} if bits is not None else {}
        result.append(("exact floor", "floor", {**floors, **known}))
    if vocabulary := task.tokenized.get("vocab_size"):
        loss = math.log(vocabulary)
        uniform = {"validation_loss": loss, "test_loss": loss, "perplexity": float(vocabulary), "accuracy": 1 / vocabulary}
        splits = task.tokenized["splits"]
        uniform["bits_per_byte"] = math.log2(vocabulary) * splits["test" if "test" in splits else "validation"]["tokens_per_byte"]
        result.append(("uniform", "control", uniform))
    return result


def _measured(runs: Iterable[Run], names: Sequence[str]) -> list[str]:
    """The metrics that at least one run has."""
    found = {name for run in runs for name, value in run.summary.items() if value}
    return [name for name in names if name in found]


def _row(run: Run, cells: Sequence[str]) -> Row:
    return Row(run.name, cells if run.summary else (), style=run.style, note=run.missing)


def _seeds(run: Run) -> str:
    wanted = run.config.get("seeds", len(run.seeds))
    return str(wanted) if len(run.seeds) == wanted else f"{len(run.seeds)} of {wanted}"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else NONE
