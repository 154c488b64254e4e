"""What the page shows of a curve under the pointer: the points of every line of a figure, where they stand in it and what they are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

POINTS = 80  # of a line: enough to follow it with a pointer
INCH = 72  # units of a drawing's viewBox


def lines(figure: Figure) -> list[dict[str, Any]]:
    """[{"name", "colour", "points": [[x, y in the drawing's viewBox, x, y as measured], ...]}] of a figure that has been drawn.

    Lines without a name, such as those of error bars, are left out.
    """
    return [line for axes in figure.axes for line in _of(axes, figure)]


def _of(axes: Axes, figure: Figure) -> Iterator[dict[str, Any]]:
    named: list[tuple[str, Any]] = [(str(line.get_label()), line) for line in axes.get_lines()]
    named += [(str(container.get_label()), container[0]) for container in axes.containers if isinstance(container, ErrorbarContainer)]
    box, (width, height) = axes.get_position(), INCH * figure.get_size_inches()
    for name, line in named:
        values = np.asarray(line.get_xydata() if line is not None else (), dtype=float)
        if name.startswith("_") or len(values) < 2 or line.get_transform() != axes.transData:  # a rule across the panel is no measurement
            continue
        values = values[np.unique(np.linspace(0, len(values) - 1, POINTS).round().astype(int))]
        inside = axes.transAxes.inverted().transform(axes.transData.transform(values))
        x, y = (box.x0 + box.width * inside[:, 0]) * width, (1 - box.y0 - box.height * inside[:, 1]) * height
        rows = np.column_stack([x, y, values])[np.isfinite(inside).all(axis=1)]
        points = [[round(at, 1), round(height, 1), *(float(f"{value:.4g}") for value in measured)] for at, height, *measured in rows.tolist()]
        yield {"name": name.replace("\u200b", "").replace(r"\$", "$"), "colour": to_hex(line.get_color()), "points": points}
