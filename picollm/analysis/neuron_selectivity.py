"""Which MLP neurons tell the sequence types apart: the share of a neuron's variance that lies between types (eta squared).

Neurons are chosen on one half of the sequences and judged on the other: the best of 500 looks selective on the data it was
chosen on, whatever it does. Two nulls: shuffled types, and untrained models, whose neurons see different tokens too.

Shapes: N sequences, K types, F neurons of a layer, L layers.
"""

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import stdtrit
from torch import Tensor

from picollm.analysis import _probes
from picollm.analysis._drawing import CHART, HEATMAP
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._result import Estimate, Result, Row, Skip, Subject, estimate
from picollm.models import Model
from picollm.report.figures import INK

PER_TYPE = 64  # sequences
DRAWN = 40  # neurons a layer
FEWEST = 4  # sequences of a type: two in each half
BATCH = 64
LEVEL = 0.99  # of the shuffled null, above which a neuron counts as selective
SEED = 3


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if subject.is_text:
        return Skip("a text has no sequence types to tell apart")
    names = _probes.families(subject)
    if not names:
        return Skip(_probes.NO_TYPES)
    groups = [_probes.sequences(subject, name, PER_TYPE) for name in names]
    for name, group in zip(names, groups, strict=True):
        if len(group) < FEWEST:
            return Skip(f"needs {FEWEST} different sequences of {subject.options.length} terms of every type, there are {len(group)} of {name}")
    types = np.repeat(np.arange(len(names)), [len(group) for group in groups])
    ids, split = np.concatenate(groups), halves(types)
    fresh = [[_Layer(x, types, split) for x in activations(model, ids)] for model in untrained(subject)]
    layers = [_Layer(x, types, split) for x in activations(subject.model, ids)]

    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    for number, layer in enumerate(layers):
        null = [model[number] for model in fresh]
        selective = [(one.judged > one.threshold).sum() for one in (layer, *null)]
        nulls = {"shuffled": (layer.shuffled > layer.threshold).sum(1), "untrained": np.array(selective[1:])}
        metrics[f"{number}.selective"] = estimate(selective[0], len(layer.judged), nulls)
        best = layer.ranking[0]
        nulls = {"shuffled": layer.shuffled[:, best], "untrained": np.array([one.judged[one.ranking[0]] for one in null])}
        metrics[f"{number}.best"] = estimate(layer.judged[best], len(split[1]), nulls, neuron=int(best))
        table += [
            {"layer": number, "neuron": neuron, "chosen_by": layer.chosen[neuron], "eta2": layer.judged[neuron], "highest": names[layer.z[:, neuron].argmax()]}
            | {f"z_{name}": z for name, z in zip(names, layer.z[:, neuron], strict=True)}
            for neuron in layer.ranking[:DRAWN]
        ]
    arrays = {"chosen": [one.chosen for one in layers], "eta2": [one.judged for one in layers], "means": [one.means for one in layers]}
    return Result(
        metrics,
        {"neurons": _draw_neurons(layers, names), "eta2": _draw_distribution(layers, fresh)},
        {"": table},
        {"": {name: np.stack(values).astype(np.float32) for name, values in arrays.items()}},
    )


class _Layer:
    """One layer's neurons: chosen by the first half of the sequences, judged on the second."""

    def __init__(self, x: np.ndarray, types: np.ndarray, split: tuple[np.ndarray, np.ndarray]) -> None:
        first, second = split
        x, held, held_types = x[first], x[second], types[second]
        self.chosen = eta_squared(x, types[first])  # (F,)
        self.ranking = np.argsort(-self.chosen, kind="stable")
        self.judged = eta_squared(held, held_types)  # (F,)
        self.shuffled = eta_squared(held, np.stack([held_types[order] for order in permutations(len(held), SEED)]))  # (SHUFFLES, F)
        self.threshold = float(np.quantile(self.shuffled, LEVEL))
        self.means = np.stack([held[held_types == kind].mean(0) for kind in range(types.max() + 1)])  # (K, F)
        # Types count alike here: with three geometric sequences among sixty walks, sequences counting alike would stretch the scale.
        centre = self.means.mean(0)
        spread = np.sqrt(np.mean([((held[held_types == kind] - centre) ** 2).mean(0) for kind in range(len(self.means))], axis=0))
        self.z = (self.means - centre) / np.where(spread > 0, spread, 1.0)  # (K, F)


def eta_squared(x: np.ndarray, types: np.ndarray) -> np.ndarray:
    """x (N, F), types (..., N) from 0 up -> (..., F) in 0..1; 0 for a neuron that never changes."""
    size = (x**2).sum(0)
    x = x - x.mean(0)
    total = (x**2).sum(0)
    one_hot = np.eye(types.max() + 1)[types]  # (..., N, K)
    sums = np.swapaxes(one_hot, -1, -2) @ x  # (..., K, F)
    between = (sums**2 / np.maximum(one_hot.sum(-2), 1)[..., None]).sum(-2)
    eta2: np.ndarray = between * np.divide(1, total, out=np.zeros_like(total), where=total > 1e-12 * size)  # below, what is left is rounding
    return eta2


def difference(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The interval of mean(a) - mean(b) of independent rows, two or more each, which vary as they like (Welch 1947)."""
    parts = [group.var(ddof=1) / len(group) for group in (a, b)]
    total = sum(parts)
    freedom = total**2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, (a, b), strict=True)) if total else 1.0
    half = float(stdtrit(freedom, 0.975) * np.sqrt(total))
    middle = float(a.mean() - b.mean())
    return {"low": middle - half, "high": middle + half}


def halves(types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two index arrays that share each type's sequences equally (the first gets the odd one)."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    first, second = [], []
    for kind in range(types.max() + 1):
        members = rng.permutation(np.flatnonzero(types == kind))
        first.append(members[::2])
        second.append(members[1::2])
    return np.concatenate(first), np.concatenate(second)


def activations(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> each neuron's activation after its nonlinearity, averaged over the sequence: (L, N, F)."""
    batches = []

    def tap(site: str, value: Tensor) -> Tensor:
        if site.endswith(".mlp_post"):
            means.append(value.mean(1))
        return value

    with torch.no_grad():
        for start in range(0, len(ids), BATCH):
            means: list[Tensor] = []
            model(torch.from_numpy(ids[start : start + BATCH]).to(model.device), tap=tap)
            batches.append(torch.stack(means))
    return torch.cat(batches, 1).cpu().numpy().astype(np.float64)


def _draw_neurons(layers: list[_Layer], names: list[str]) -> Figure:
    """The most selective neurons of each layer by the types' mean activation, in standard deviations, grouped by the type they answer to most."""
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(2.3 * columns + 1.3, 5.4 * rows + 0.4), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for number, (axes, layer) in enumerate(zip(panels, layers, strict=False)):
            top = layer.ranking[:DRAWN]
            top = top[np.lexsort((-layer.z[:, top].max(0), layer.z[:, top].argmax(0)))]
            image = axes.imshow(layer.z[:, top].T, aspect="auto", cmap="RdBu_r", vmin=-2, vmax=2, interpolation="nearest")
            axes.set_title(f"layer {number}")
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
            axes.set_yticks(range(len(top)), [str(neuron) for neuron in top], fontsize=6)
            axes.tick_params(length=0)
        for axes in panels[len(layers) :]:
            axes.remove()
        figure.colorbar(image, ax=figure.axes, label="mean activation (standard deviations)", fraction=0.04, pad=0.02)
        figure.suptitle(f"{len(top)} most selective neurons, held-out half", fontsize=10)
        figure.supylabel("neuron", fontsize=9)
    return figure


def _draw_distribution(layers: list[_Layer], fresh: list[list[_Layer]]) -> Figure:
    """The share of neurons up to each eta squared: every layer, untrained models, shuffled types."""
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(layers)))
        for number, (layer, colour) in enumerate(zip(layers, colours, strict=True)):
            axes.ecdf(layer.judged, color=colour, label=f"layer {number}")
        axes.ecdf(np.concatenate([layer.judged for model in fresh for layer in model]), color=INK, linestyle=(0, (5, 2)), label="untrained")
        shuffled = np.concatenate([layer.shuffled.ravel() for layer in layers])
        axes.ecdf(np.quantile(shuffled, np.linspace(0, 1, 501)), color="#8c959f", linestyle=(0, (1.5, 1.5)), label="shuffled types")
        axes.set(xlabel="eta squared: share of the variance between sequence types", ylabel="share of neurons up to it", xlim=(0, 1), ylim=(0, 1))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(layers) + 2))
    return figure
