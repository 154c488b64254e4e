"""Parameters against success: how large a model must be for all, half or none of its seeds to meet a sweep's condition."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picollm.report.figures import COLOURS, SETTINGS
from picollm.report.writing import plain, varied

APART = 1.1  # times the parameters of the smallest: of sizes nearer to one another there is nothing to see


def figure(cells: Sequence[Mapping[str, Any]], condition: str) -> Figure | None:
    """A point a cell by size, with the 95 % interval of its rate (Clopper-Pearson). None where nothing was rated, or all models have one size.

    cells: {"parameters", "point": {parameter: value}, "success": {"successes", "n", "low", "high"}}.
    """
    rated = sorted((cell for cell in cells if cell.get("success")), key=lambda cell: cell["parameters"])
    if not rated or rated[-1]["parameters"] < APART * rated[0]["parameters"]:
        return None
    at, rates = np.arange(len(rated)), np.array([cell["success"]["successes"] / cell["success"]["n"] for cell in rated])
    ends = np.array([[rate - cell["success"]["low"], cell["success"]["high"] - rate] for cell, rate in zip(rated, rates, strict=True)])
    with matplotlib.rc_context(SETTINGS):
        drawing = Figure(figsize=(max(4.6, 1 + 0.7 * len(rated)), 3.2), layout="constrained")
        axes = drawing.subplots()
        axes.errorbar(at, rates, ends.clip(0).T, fmt="o", color=COLOURS[0], markersize=5, capsize=3)
        for place, cell in zip(at, rated, strict=True):
            rate = cell["success"]
            axes.annotate(f"{rate['successes']:g} of {rate['n']:g}", (place, rate["high"]), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        names = ["\n".join(f"{name.rpartition('.')[2]} {plain(cell['point'][name])}" for name in varied(rated)) for cell in rated]
        axes.set_xticks(at, [f"{cell['parameters']:,}\n{name}" for cell, name in zip(rated, names, strict=True)], fontsize=7.5)
        axes.set(xlabel="parameters", ylabel=f"seeds with {condition}", ylim=(-0.03, 1.09), xlim=(-0.6, len(rated) - 0.4))
    return drawing
