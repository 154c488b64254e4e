"""Drawing: loss curves and longer-sequence curves, in colours that stay with a run, as the same bytes every time.

Colours: Okabe & Ito, "Color Universal Design" (2008), without its yellow (too pale on white) and its black (kept for the floor).
A table here is a list of rows as `csv.DictReader` gives them: an empty cell is a value that was not measured.
"""

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from picollm.core.files import atomic

Rows = Sequence[Mapping[str, Any]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))  # told apart without colour from the seventh run on
INK, GRID = "#24292f", "#d8dce1"  # replaced by the reader's theme where a figure becomes part of a page
LABELS = {"train_loss": "training loss", "validation_loss": "validation loss", "loss": "loss", "excess": "excess", "accuracy": "accuracy"}
ROOM, LINE = 3, 0.19  # lines of a legend that a picture has room for, and the inches of each more
LINEAR = 0.01  # nats: an axis of excesses is linear up to here and logarithmic beyond; it may be 0, or below by chance
SETTINGS: Any = {  # matplotlib types the keys one by one
    "svg.hashsalt": "picollm",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True)
class Style:
    """How one run looks wherever it is drawn."""

    colour: str
    dash: tuple[float, ...] = ()


def styles(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Style]:
    """A style per run: its place among the runs of its task, the only ones it is ever drawn with."""
    seen: dict[str, int] = defaultdict(int)
    result = {}
    for name, run in runs.items():
        place = seen[str(run.get("task"))]
        seen[str(run.get("task"))] += 1
        result[name] = Style(COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
    return result


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """PNG without the software's name and version, which would change the bytes."""
    with matplotlib.rc_context(SETTINGS), atomic(path) as temporary:
        figure.set_dpi(dpi)
        if engine := figure.get_layout_engine():  # savefig would draw everything once more to call this, with the same result
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element of an HTML page, which gives it its ink and its width."""
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index(">", text.index("<svg")) + 1 :].replace(INK, "currentColor").replace(GRID, "var(--rule)")
    text = re.sub('<g id="[^"]*"', "<g", text)  # nothing refers to them, and two figures would have the same
    width, height = figure.get_size_inches() * 72
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img">{text}'


def training_curves(
    tables: Mapping[str, Sequence[Rows]],
    columns: Sequence[str] = ("train_loss", "validation_loss"),
    floor: float | None = None,
    style: Mapping[str, Style] | None = None,
) -> Figure:
    """Loss against step, a panel per column, a line per run: the mean over its seeds in a band from the lowest to the highest seed.

    tables: run -> a table per seed, or one of all seeds, with step and `columns`. floor: in the unit of the losses (nats per token).
    """
    rows = {run: [row for table in seeds for row in table] for run, seeds in tables.items()}
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6 * len(columns), 3.2), layout="constrained")
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            low, high = _lines(axes, rows, "step", column, style)
            if floor is not None:
                axes.axhline(floor, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label=f"exact floor {floor:.4g}")
                low = min(low, floor)
            axes.set(xlabel="step", ylabel=f"{LABELS.get(column, column)} (nats per token)")
            _scale(axes, low, high)
        _legend(figure, panels[0], len(columns))
    return figure


def lengths(
    tables: Mapping[str, Rows],
    column: str = "loss",
    trained: int | None = None,
    family: str = "all",
    style: Mapping[str, Style] | None = None,
    x: str = "length",
    unit: str = "tokens",
) -> Figure:
    """Loss against sequence length, a line per run, with the exact floor of each length and the longest trained length marked.

    tables: run -> rows with seed, family, floor, `column` (loss, excess or accuracy) and `x` (length, position, or what else grows, such as pairs).
    unit: what lengths count; positions always count tokens.
    """
    tables = {run: [row for row in rows if row["family"] == family] for run, rows in tables.items()}
    if x == "position":
        tables = {run: _octaves(rows, column) for run, rows in tables.items()}
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        low, high = _lines(axes, tables, x, column, style, marker="" if x == "position" else "o")
        every = [row for rows in tables.values() for row in rows]
        floor = over_seeds(every, x, "floor") if column == "loss" else {}
        if floor:
            axes.plot(list(floor), [mean for mean, _, _ in floor.values()], color=INK, linewidth=1.1, linestyle=(0, (4, 2)), label="exact floor")
            low = min([low, *(mean for mean, _, _ in floor.values())])
        if trained is not None and (x == "length" or (x == "position" and unit == "tokens")):
            axes.axvline(trained, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), label=f"trained up to length {trained}")
        ticks = sorted({float(row[x]) for row in every})
        ticks = [2.0**power for power in range(12) if ticks and 2**power <= ticks[-1]] if x == "position" else ticks
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(
            xlabel={"length": f"length of the sequence ({unit})", "position": "position in the sequence (tokens)"}.get(x, f"{x} in the sequence"),
            ylabel=LABELS.get(column, column) + ("" if column == "accuracy" else " (nats per token)"),
        )
        if column == "loss":
            _scale(axes, low, high)
        elif column == "excess" and x != "position" and high > 10 * max(low, LINEAR):
            axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.5)
            axes.set_ylim(min(1.5 * low, -LINEAR / 2), 1.5 * high)  # its own would reach as far down as up
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        _legend(figure, axes)
    return figure


def length_column(rows: Rows) -> str:
    """What to draw over the length: the excess; where the floor is 0 the accuracy, where none is known the loss."""
    floors = [row["floor"] for row in rows if row["family"] == "all"]
    if not floors or any(floor in (None, "") for floor in floors):
        return "loss"
    return "excess" if any(float(floor) for floor in floors) else "accuracy"


def _octaves(rows: Rows, column: str) -> Rows:
    """The mean of `column` for each seed over an eighth of an octave of positions, which would be noise one by one on a logarithmic axis."""
    found: dict[tuple[str, float], list[float]] = defaultdict(list)
    for row in rows:
        found[row["seed"], round(2 ** (round(8 * math.log2(float(row["position"]))) / 8), 3)].append(float(row[column]))
    return [{"seed": seed, "position": position, column: sum(values) / len(values)} for (seed, position), values in found.items()]


def sweep(grid: Sequence[str], cells: Sequence[Mapping[str, Any]], style: Mapping[str, Style] | None = None) -> Figure:
    """Validation loss (solid) and training loss (dotted) over the parameter of the grid with the most values, a line for each choice of the others.

    cells: {"point": {parameter: value}, "summary": {"validation_loss": summary, "train_loss": summary}}, perhaps "variant". Bars are 95 % intervals over seeds.
    """
    values = {name: list(dict.fromkeys(json.dumps(cell["point"][name]) for cell in cells)) for name in grid}
    x = max(grid, key=lambda name: len(values[name]))
    lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in cells:
        variant = [cell["variant"]] if cell.get("variant") else []
        others = (f"{name.rpartition('.')[2]} {cell['point'][name]}" for name in grid if name != x and len(values[name]) > 1)
        lines[", ".join([*variant, *others])].append(cell)
    numbers = [json.loads(value) for value in values[x]]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        looks = {**styles({label: {} for label in lines}), **(style or {})}
        for label, row in lines.items():
            at = [cell["point"][x] if numeric else values[x].index(json.dumps(cell["point"][x])) for cell in row]
            for loss, dash in (("validation_loss", "-"), ("train_loss", ":")):
                found = [cell["summary"][loss] for cell in row]
                means = [value["mean"] for value in found]
                half = [(value.get("high", value["mean"]) - value.get("low", value["mean"])) / 2 for value in found]
                name = f"{LABELS[loss]}{', ' if label else ''}{label}"
                axes.errorbar(at, means, yerr=half, color=looks[label].colour, linestyle=dash, marker="o", markersize=4, capsize=2, label=name)
        if numeric and min(numbers) > 0 and max(numbers) > 4 * min(numbers):
            axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(numbers if numeric else range(len(numbers))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}" if numeric else str(numbers[place])))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=x, ylabel="loss (nats per token)")
        _legend(figure, axes)
    return figure


def over_seeds(rows: Iterable[Mapping[str, Any]], x: str, y: str) -> dict[float, tuple[float, float, float]]:
    """{x: (mean, lowest, highest) of y}, in ascending x, without the rows where y is empty."""
    found: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(y) not in (None, ""):
            found[float(row[x])].append(float(row[y]))
    return {key: (sum(values) / len(values), min(values), max(values)) for key, values in sorted(found.items())}


def _lines(axes: Axes, tables: Mapping[str, Rows], x: str, y: str, style: Mapping[str, Style] | None, marker: str = "") -> tuple[float, float]:
    """Draw every run; -> the lowest and the highest value drawn."""
    style = style or styles({run: {} for run in tables})
    values = []
    for run, rows in tables.items():
        line = over_seeds(rows, x, y)
        if not line:
            continue
        means, lows, highs = zip(*line.values(), strict=True)
        look = style[run]
        axes.fill_between(list(line), lows, highs, color=look.colour, alpha=0.2, linewidth=0)
        # A name that starts with an underscore would be left out of a legend, and "$" would start a formula.
        label = "\u200b" * run.startswith("_") + run.replace("$", r"\$")
        axes.plot(list(line), means, color=look.colour, linestyle=(0, look.dash) if look.dash else "-", marker=marker, markersize=4, label=label)
        values += [*lows, *highs]
    return min(values, default=1.0), max(values, default=1.0)


def _scale(axes: Axes, low: float, high: float) -> None:
    """A logarithmic loss axis where the values span enough to need one: what happens near the floor is the point."""
    if low > 0 and high > 3 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, axes: Axes, panels: int = 1) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = min(2 * panels, len(handles))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6)
        figure.set_figheight(figure.get_figheight() + LINE * max(0, -(-len(handles) // columns) - ROOM))  # the panel keeps its height
