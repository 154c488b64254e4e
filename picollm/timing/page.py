"""plots/timing.html: how long all of it took, on what, and where MLflow keeps it. It changes from run to run, so it is no output of DVC."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from picollm import models
from picollm.core.files import write_text
from picollm.core.statistics import Summary
from picollm.report import figures
from picollm.report.collect import Sweep, Task
from picollm.report.pictures import drawing
from picollm.report.rendering import render
from picollm.report.sweeps import chosen, primary
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, estimate, number, title
from picollm.study import Study
from picollm.timing import machine
from picollm.timing.logged import Training, trainings
from picollm.timing.memory import kilobytes

PAGE = Path("plots/timing.html")
TEMPLATE = Path(__file__).with_name("timing.html")
WIDE = 10  # a span that needs a logarithmic axis
CONTEXT, VOCABULARY = 512, 128  # tokens a sequence that memory is told of; a vocabulary changes nothing in it


@dataclass(frozen=True)
class Point:
    variant: str
    seconds: float
    memory: float  # kB
    loss: Summary


def write(study: Study, tasks: Sequence[Task], sweeps: Sequence[Sweep], seconds: Mapping[str, float]) -> None:
    """seconds: of every stage, when it last ran."""
    sections = []
    for task in tasks:
        found = trainings((run.name, task.name) for run in task.runs)
        if found:
            drawn = [drawing("loss against time", _course(task, found)), drawing("speed", _speed(task, found))]
            sections.append({"task": task, "table": _table(task, found), "pictures": drawn, "links": [(one.run, one.address) for one in found]})
    swept = [{"sweep": sweep, **costs} for sweep in sweeps if sweep.group and sweep.cells and (costs := _variants(study, sweep))]
    write_text(PAGE, render(TEMPLATE, facts=machine.facts(), stages=_stages(seconds), sections=sections, swept=swept))


def _variants(study: Study, sweep: Sweep) -> dict[str, Any] | None:
    """What equal parameters and equal tokens leave open: the loss that a variant reaches, against its time and its memory."""
    name, blocks = primary(sweep), study.variants(str(sweep.group))
    points = []
    for cell in chosen(sweep):
        found = trainings([(f"{sweep.name} {cell['label']}", str(sweep.config["task"]))])
        if found and found[0].seeds and name in cell["summary"]:
            seeds = found[0].seeds
            model = models.build(blocks[cell["variant"]], VOCABULARY, f"variants.{sweep.group}.{cell['variant']}")
            context = CONTEXT if model.max_length is None else min(CONTEXT, model.max_length)
            points.append(Point(cell["variant"], sum(seed.seconds for seed in seeds) / len(seeds), kilobytes(model, context), cell["summary"][name]))
    if not points:
        return None
    rows = [
        Row(point.variant, [number(point.seconds, 3), number(point.memory, 3), estimate(point.loss)], style=sweep.styles[point.variant]) for point in points
    ]
    table = Table(
        f"Seconds of training a seed, what a sequence of {CONTEXT} tokens leaves in memory while it is continued, and what the variant reaches.",
        ["variant", "seconds", "kB a sequence", title(name)],
        rows,
    )
    axes = (("seconds of training", [point.seconds for point in points]), ("kB that a sequence leaves in memory", [point.memory for point in points]))
    return {"table": table, "pictures": [drawing(f"{title(name)} against {label}", _scatter(sweep, points, label, x, title(name))) for label, x in axes]}


def _scatter(sweep: Sweep, points: Sequence[Point], label: str, x: Sequence[float], y: str) -> Figure:
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        for point, at in zip(points, x, strict=True):
            mean = point.loss["mean"]
            half = (point.loss.get("high", mean) - point.loss.get("low", mean)) / 2
            axes.errorbar([at], [mean], yerr=[half], color=sweep.styles[point.variant].colour, marker="o", markersize=5, capsize=2)
            axes.annotate(point.variant, (at, mean), xytext=(6, 4), textcoords="offset points", fontsize=8)
        means = [point.loss["mean"] for point in points]
        if max(means) > WIDE * max(min(means), figures.LINEAR):
            axes.set_yscale("symlog", linthresh=figures.LINEAR)
        if max(x) > WIDE * min(x):
            axes.set_xscale("log")
        else:
            axes.set_xlim(0, 1.3 * max(x))  # room for names
        axes.margins(x=0.2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlabel=label, ylabel=y if "bits" in y else f"{y} (nats per token)")
    return figure


def _stages(seconds: Mapping[str, float]) -> Table:
    rows = [Row(name, [number(value, 3)], kind="cell") for name, value in sorted(seconds.items(), key=lambda item: -item[1])]
    rows.append(Row("all", [number(sum(seconds.values()), 4)], "floor"))
    return Table("Every stage when it last ran, whatever else the machine did then.", ["stage", "seconds"], rows)


def _table(task: Task, found: Sequence[Training]) -> Table:
    looks = {run.name: run.style for run in task.runs}
    rows = []
    for one in found:
        seeds = one.seeds
        spread = [_range([seed.seconds for seed in seeds]), _range([seed.tokens_per_second for seed in seeds])] if seeds else [NONE, NONE]
        rows.append(Row(one.run, [str(len(seeds)), *spread], style=looks[one.run]))
    return Table("Training alone, from the fastest to the slowest seed.", ["run", "seeds", "seconds a seed", "tokens a second"], rows)


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values), 3), number(max(values), 3)
    return low if low == high else f"{low} to {high}"


def _course(task: Task, found: Sequence[Training]) -> Figure:
    """Validation loss against the seconds of training, a line a seed; of a text in bits per byte, which other tokenizers can be compared by."""
    scale, unit, floor = 1.0, "nats per token", task.floor
    rate = task.tokenized.get("splits", {}).get("validation", {}).get("tokens_per_byte")
    if rate:
        scale, unit = rate / math.log(2), "bits per byte"
    looks = {run.name: run.style for run in task.runs}
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        for one in found:
            for seed in one.seeds:
                look = looks[one.run]
                label = one.run.replace("$", r"\$") if seed is one.seeds[0] else f"_{one.run}"
                times, losses = [time for time, _ in seed.course], [scale * loss for _, loss in seed.course]
                axes.plot(times, losses, color=look.colour, linestyle=(0, look.dash) if look.dash else "-", linewidth=1.1, label=label)
        if floor is not None:
            axes.axhline(scale * floor, color=figures.INK, linewidth=1.1, linestyle=(0, (4, 2)), label=f"exact floor {scale * floor:.4g}")
        axes.set(xlabel="seconds of training", ylabel=f"validation loss ({unit})")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _speed(task: Task, found: Sequence[Training]) -> Figure:
    """A bar a run: the mean over its seeds."""
    looks = {run.name: run.style for run in task.runs}
    shown = [one for one in found if one.seeds]
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=(4.6, 0.8 + 0.32 * len(shown)), layout="constrained")
        axes = figure.subplots()
        means = [sum(seed.tokens_per_second for seed in one.seeds) / len(one.seeds) for one in shown]
        axes.barh(range(len(shown)), means, color=[looks[one.run].colour for one in shown], height=0.6)
        axes.set_yticks(range(len(shown)), [one.run.replace("$", r"\$") for one in shown])
        axes.invert_yaxis()
        axes.set(xlabel="tokens a second")
        axes.grid(axis="y", visible=False)
        axes.set_axisbelow(True)
    return figure
