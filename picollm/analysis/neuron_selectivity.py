"""Which MLP neurons tell the sequence types apart, and whether a model needs them for the type they answer to.

Two measures: the share of a neuron's variance that lies between types (eta squared), and how often it is more active on a
sequence of one type than on another (the area under the ROC curve). Neurons are chosen on one half of the sequences and
judged on the other: the best of 500 looks selective on the data it was chosen on, whatever it does. Two nulls: shuffled types,
and untrained models, whose neurons see different tokens too.

A selective neuron may do nothing. So the most selective ones of every type are held at their mean: does that raise the loss on
their type more than on the others, and more than holding random neurons does?

Shapes: N sequences, K types, F neurons of a layer, L layers.
"""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picollm.analysis import _bootstrap, _probes, _verdicts
from picollm.analysis._drawing import CHART, HEATMAP
from picollm.analysis._neurons import activations, difference, eta_squared, losses
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._ranks import area
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.core import statistics
from picollm.report.figures import INK

PER_TYPE = 64  # sequences
DRAWN = 40  # neurons a layer
FEWEST = 4  # sequences of a type: two in each half
LEVEL = 0.99  # of the shuffled null, above which a neuron counts as selective
HELD = 8  # neurons of each type, of all layers
RANDOM = 19  # sets of as many neurons: fewer could give no p of 0.05
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
    found = activations(subject.model, ids)
    layers = [_Layer(x, types, split) for x in found]

    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims: list[Claim] = []
    for number, layer in enumerate(layers):
        metrics |= {f"{number}.{name}": value for name, value in _scores(layer, [model[number] for model in fresh]).items()}
        claims.append(_claim(number, names[layer.pair[0]], metrics[f"{number}.area"]))
        table += [
            {"layer": number, "neuron": neuron, "chosen_by": layer.chosen[neuron], "eta2": layer.judged[neuron], "highest": names[layer.z[:, neuron].argmax()]}
            | {f"z_{name}": z for name, z in zip(names, layer.z[:, neuron], strict=True)}
            | {f"area_{name}": value for name, value in zip(names, layer.areas[:, neuron], strict=True)}
            for neuron in layer.ranking[:DRAWN]
        ]
    for kind, value in enumerate(_held(subject, layers, ids[split[1]], types[split[1]], found[:, split[0]].mean(1))):
        name = f"held.{names[kind]}"
        metrics[name] = value
        sentence = f"Holding {{{name}:neurons}} neurons that answer to {names[kind]} sequences: the rise of the loss there, less that on others,"
        claims.append(_verdicts.against(sentence, name, value, "random", "random neurons"))
    arrays = {"chosen": [one.chosen for one in layers], "eta2": [one.judged for one in layers], "means": [one.means for one in layers]}
    return Result(
        metrics,
        {"neurons": _draw_neurons(layers, names), "eta2": _draw_distribution(layers, fresh)},
        {"": table},
        {"": {name: np.stack(values).astype(np.float32) for name, values in arrays.items()}},
        claims,
    )


class _Layer:
    """One layer's neurons: chosen by the first half of the sequences, judged on the second."""

    def __init__(self, x: np.ndarray, types: np.ndarray, split: tuple[np.ndarray, np.ndarray]) -> None:
        first, second = split
        x, held, held_types = x[first], x[second], types[second]
        kinds = np.arange(types.max() + 1)[:, None]
        self.held, self.types = held, held_types
        self.candidates = area(x, types[first] == kinds)  # (K, F)
        self.areas = area(held, held_types == kinds)  # (K, F)
        self.pair = tuple(int(place) for place in np.unravel_index(self.candidates.argmax(), self.candidates.shape))  # type and neuron
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


def _scores(layer: _Layer, fresh: list[_Layer]) -> dict[str, Estimate]:
    """How many neurons are selective; the best by either measure."""
    F, n = len(layer.judged), len(layer.held)
    selective = [int((one.judged > one.threshold).sum()) for one in (layer, *fresh)]
    share = statistics.proportion(selective[0], F)
    counts = {"shuffled": (layer.shuffled > layer.threshold).sum(1), "untrained": np.array(selective[1:])}
    best, (kind, answering) = layer.ranking[0], layer.pair
    eta = {"shuffled": layer.shuffled[:, best], "untrained": np.array([one.judged[one.ranking[0]] for one in fresh])}
    x, is_kind = layer.held[:, [answering]], layer.types == kind
    orders = np.stack([is_kind[order] for order in permutations(n, SEED)])
    areas = {"shuffled": area(x, orders)[:, 0], "untrained": np.array([one.areas[one.pair] for one in fresh])}
    of_best = _bootstrap.statistic(lambda rows: float(eta_squared(layer.held[rows][:, [best]], layer.types[rows])[0]), n)
    value = float(layer.areas[layer.pair])
    if value in (0, 1):  # as good as the rarer of the two kinds can tell
        rarer = int(min(is_kind.sum(), n - is_kind.sum()))
        of_area = _bootstrap.share(np.full(rarer, value))
    else:
        of_area = _bootstrap.statistic(lambda rows: float(area(x[rows], is_kind[rows])[0]), n)
    return {
        "selective": estimate(selective[0], F, counts, low=share["low"] * F, high=share["high"] * F),
        "best": estimate(layer.judged[best], n, eta, **of_best, neuron=int(best)),
        "area": estimate(value, n, areas, **of_area, neuron=answering, type=kind),
    }


def _held(subject: Subject, layers: list[_Layer], ids: np.ndarray, types: np.ndarray, means: np.ndarray) -> list[Estimate]:
    """For every type: by how much more the loss on it rises than that on others when the HELD neurons that answer to it most are held at `means` (L, F)."""
    F = means.shape[1]
    held = min(HELD, means.size)
    before = losses(subject.model, ids)

    def rise(places: np.ndarray) -> np.ndarray:
        """(N,), places count through all layers."""
        return losses(subject.model, ids, [(int(place) // F, int(place) % F) for place in places], means) - before

    rng = np.random.Generator(np.random.PCG64(SEED))
    random = [rise(rng.permutation(means.size)[:held]) for _ in range(RANDOM)]
    result = []
    for kind in range(types.max() + 1):
        answering = np.argsort(-np.concatenate([layer.candidates[kind] for layer in layers]), kind="stable")[:held]
        inside, found = types == kind, rise(answering)
        null = np.array([one[inside].mean() - one[~inside].mean() for one in random])
        value = found[inside].mean() - found[~inside].mean()
        facts = {"own": float(found[inside].mean()), "others": float(found[~inside].mean()), "neurons": held}
        result.append(estimate(value, int(inside.sum()), {"random": null}, **difference(found[inside], found[~inside]), **facts))
    return result


def _claim(layer: int, name: str, found: Estimate) -> Claim:
    metric = f"{layer}.area"
    sentence = f"Neuron {{{metric}:neuron}}, which answers to {name} sequences in the half it was chosen on, is more active on them in the other half: the area"
    return _verdicts.against(sentence, metric, found, "untrained", "untrained models")


def halves(types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two index arrays that share each type's sequences equally (the first gets the odd one)."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    first, second = [], []
    for kind in range(types.max() + 1):
        members = rng.permutation(np.flatnonzero(types == kind))
        first.append(members[::2])
        second.append(members[1::2])
    return np.concatenate(first), np.concatenate(second)


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
