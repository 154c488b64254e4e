"""One number a head as a grid, layers downwards."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

MOST = 120  # heads whose numbers are written into their cells


def draw(axes: Axes, values: np.ndarray, title: str, largest: float, rows: list[str] | None = None, columns: list[str] | None = None) -> AxesImage:
    """values (L, H) between -largest and largest: blue for what lowers, red for what raises. Other rows and columns than layers and heads by their names."""
    image = axes.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    if values.size <= MOST:
        for (y, x), value in np.ndenumerate(values):
            text = f"{abs(value) if abs(value) < 0.005 else value:.2f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color="white" if abs(value) > 0.6 * largest else "black")
    axes.set_xticks(range(values.shape[1]), columns or [str(head) for head in range(values.shape[1])])
    axes.set_yticks(range(values.shape[0]), rows or [str(layer) for layer in range(values.shape[0])])
    axes.set_title(title)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if columns is None:
        axes.set_xlabel("head")
    if rows is None:
        axes.set_ylabel("layer")
    return image
