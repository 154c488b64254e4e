"""Heatmaps of many heads on one picture: a row of panels a layer, a panel a head.

Shapes: L layers, H heads, T tokens; a matrix is (T queries, T keys).
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picollm.analysis._drawing import HEATMAP


def draw(
    matrices: np.ndarray, labels: Sequence[str], title: str, layers: Sequence[int] | None = None, heads: Sequence[int] | None = None, most: float = 1.0
) -> Figure:
    """(L, H, T, T) -> a figure; `layers` and `heads` are the numbers of those shown where that is not all, `most` is where the colours end.

    Weights with a sign get two hues from a neutral middle. The panels are placed by hand: matplotlib's own layouts take seconds for a hundred of them.
    """
    L, H, T, _ = matrices.shape
    layers, heads = layers or range(L), heads or range(H)
    signed = bool((matrices < 0).any())
    size, gap = min(2.1, max(0.75, 9 / max(L, H))), 0.1  # inches
    step = -(-T // int(size * 72 / 8))  # label every so many tokens, or they touch
    ticks, names = range(0, T, step), labels[::step]
    room = 0.1 + 0.055 * max(map(len, names))  # that the labels take
    left, right, bottom, top = 0.45 + room, 0.8, 0.25 + room, 0.5
    width, height = left + H * (size + gap) + right, bottom + L * (size + gap) + top
    hidden = np.triu(np.ones((T, T), bool), 1)  # what no query may see stays white
    colours: dict[str, Any] = {"vmin": -most, "vmax": most, "cmap": "PuOr"} if signed else {"vmin": 0, "vmax": most, "cmap": "viridis"}
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(width, height))
        for row in range(L):
            for column in range(H):
                x, y = left + column * (size + gap), bottom + (L - 1 - row) * (size + gap)
                axes = figure.add_axes((x / width, y / height, size / width, size / height), xticks=[], yticks=[])
                image = axes.imshow(np.ma.masked_where(hidden, matrices[row, column]), interpolation="nearest", **colours)
                if row == 0:
                    axes.set_title(f"head {heads[column]}", fontsize=9)
                if row == L - 1:
                    axes.set_xticks(ticks, names, fontsize=6.5, rotation=90)
                if column == 0:
                    axes.set_yticks(ticks, names, fontsize=6.5)
                    figure.text(0.3 / width, (y + size / 2) / height, f"layer {layers[row]}", rotation=90, va="center", ha="center")
        scale = figure.add_axes(((width - right + 0.1) / width, bottom / height, 0.13 / width, (height - bottom - top) / height))
        figure.colorbar(image, cax=scale).outline.set_visible(False)
        figure.text((left + H * (size + gap) / 2) / width, 0.12 / height, "token looked at", ha="center", va="center")
        figure.text(0.12 / width, (bottom + L * (size + gap) / 2) / height, "token looking", rotation=90, ha="center", va="center")
        figure.text(left / width, 1 - 0.15 / height, title, fontsize=10, va="center")
    return figure
