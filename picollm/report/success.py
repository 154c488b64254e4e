"""Parameters against success: how large a model must be for all, half or none of its seeds to meet a sweep's condition."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from picollm.report.figures import COLOURS, INK, SETTINGS
from picollm.report.tables import plain

APART = 1.1  # times the parameters of the smallest: of sizes nearer to one another there is nothing to see


def figure(cells: Sequence[Mapping[str, Any]], condition: str) -> Figure | None:
    """A point a cell, with the 95 % interval of its rate (Clopper-Pearson). None where nothing was rated, or all models have one size.

    cells: {"parameters", "point": {parameter: value}, "success": {"successes", "n", "low", "high"}}.
    """
    rated = sorted((cell for cell in cells if cell.get("success")), key=lambda cell: cell["parameters"])
    if not rated or rated[-1]["parameters"] < APART * rated[0]["parameters"]:
        return None
    sizes = np.array([cell["parameters"] for cell in rated])
    rates = np.array([cell["success"]["successes"] / cell["success"]["n"] for cell in rated])
    ends = np.array([[rate - cell["success"]["low"], cell["success"]["high"] - rate] for cell, rate in zip(rated, rates, strict=True)])
    varied = [name for name in rated[0]["point"] if len({plain(cell["point"][name]) for cell in rated}) > 1]
    with matplotlib.rc_context(SETTINGS):
        drawing = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = drawing.subplots()
        axes.errorbar(sizes, rates, ends.clip(0).T, fmt="o", color=COLOURS[0], markersize=5, capsize=3)
        for cell, size, rate in zip(rated, sizes, rates, strict=True):
            label = ", ".join(f"{name.rpartition('.')[2]} {plain(cell['point'][name])}" for name in varied)
            n = f"{cell['success']['successes']:g} of {cell['success']['n']:g}"
            below = rate > 0.5
            axes.annotate(
                f"{n}\n{label}", (size, rate), (5, -4 if below else 4), textcoords="offset points", va="top" if below else "bottom", fontsize=6.5, color=INK
            )
        axes.set_xscale("log")
        axes.set_xticks(np.unique(sizes))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(axis="x", rotation=30)
        axes.margins(x=0.2)
        axes.set(xlabel="parameters", ylabel=f"seeds with {condition}", ylim=(-0.03, 1.05))
    return drawing
