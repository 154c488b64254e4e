"""The figures of heads by role."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from picollm.analysis import _threshold_rule
from picollm.analysis._drawing import CHART, HEATMAP
from picollm.analysis._labels import UNLABELLED
from picollm.analysis._role_heads import Heads
from picollm.report.figures import COLOURS, INK


def draw_roles(heads: Heads) -> Figure:
    """Every head by every role; a frame is a label, thick where it is causal; beside it what the loss rises by without the head."""
    L, H = heads.label.shape
    names, n = list(heads.scores), L * H
    found, effect = heads.found.reshape(len(names), n).T, heads.effects.mean(-1).ravel()
    label, causal = heads.label.ravel(), heads.causal.ravel()
    size = 0.3 if n <= 40 else 0.16  # inches of a row
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(0.62 * len(names) + 3.6, size * n + 1.5), layout="constrained")
        axes, beside = figure.subplots(1, 2, width_ratios=(len(names), 2.6), sharey=True)
        image = axes.imshow(found, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), [f"{layer}.{head}" for layer in range(L) for head in range(H)], fontsize=min(8, 60 * size / 2))
        axes.set(ylabel="layer.head", title="score: 0 is chance, 1 is all")
        for row, column in enumerate(label):
            if column >= 0:
                frame = Rectangle((column - 0.46, row - 0.43), 0.92, 0.86, fill=False, edgecolor="#ff6f61", linewidth=2.4 if causal[row] else 1.0)
                axes.add_patch(frame)
        beside.barh(range(n), effect, color=[COLOURS[1] if c else COLOURS[0] for c in causal], height=0.7)
        beside.axvline(0, color=INK, linewidth=0.8)
        beside.set(xlabel="nats", title="loss without it")
        beside.tick_params(left=False, labelleft=False)
        figure.colorbar(image, ax=beside, pad=0.06, fraction=0.12, aspect=30).outline.set_visible(False)
    return figure


def draw_shares(heads: Heads) -> Figure:
    """How many heads have which role, the unlabelled ones too; below what the threshold rule says of the same heads, and of untrained ones."""
    names = [*heads.scores, UNLABELLED]
    counts = np.array([(heads.label == index).sum() for index in [*range(len(names) - 1), -1]])
    causal = np.array([(heads.causal & (heads.label == index)).sum() for index in [*range(len(names) - 1), -1]])
    rule = [np.bincount(kinds.ravel(), minlength=len(_threshold_rule.KINDS)) / kinds.size for kinds in (heads.rule, heads.null_rule)]
    n = heads.label.size
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(6.4, 5.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=(len(names), 5))
        upper.barh(range(len(names)), counts / n, color=[*[COLOURS[0]] * (len(names) - 1), "#c4c9cf"], label="labelled by pattern")
        upper.barh(range(len(names)), causal / n, color=COLOURS[1], height=0.4, label="of them causal")
        upper.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        upper.set(xlim=(0, 1), title=f"roles of {n} heads: chance-corrected, family-wise, with an effect")
        upper.legend(loc="lower right" if counts[-1] < 0.6 * n else "upper right", fontsize=8)
        places = np.arange(len(_threshold_rule.KINDS))
        for shift, (shares, colour, text) in enumerate(zip(rule, (COLOURS[2], "#8c959f"), ("these heads", "untrained heads"), strict=True)):
            lower.barh(places + 0.38 * (shift - 0.5), shares, height=0.36, color=colour, label=text)
        lower.set_yticks(places, _threshold_rule.KINDS)
        lower.set(xlim=(0, 1), xlabel="share of heads", title="by thresholds alone")
        lower.legend(fontsize=8)
        for axes in (upper, lower):
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
    return figure
