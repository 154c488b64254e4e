"""From which input tokens the last token's state can have come, over all blocks at once: rollout and maximum flow, see `_flow.py`.

Both are of weights alone: they say where attention could have brought something from, not that it did, and know nothing of
values, MLPs and norms. Beside them stands what uniform weights give, which is 1 for every token, and untrained models.

Shapes: L layers, N sequences, H heads, T tokens.
"""

from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from picollm.analysis import _flow, _inputs, _intervals, _verdicts
from picollm.analysis._drawing import CHART
from picollm.analysis._inputs import Input
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.softmax_attention import SoftmaxKernel
from picollm.nn.taps import ATTENDING, Recorder
from picollm.report.figures import COLOURS, INK

SEQUENCES = 12  # a maximum flow takes half a millisecond, for every token of each of them, in every untrained model too
FAINT = 0.004  # of the last token's state: an edge that passes on less is not drawn
SCORES = {"uneven": 0.0, "first": 1.0, "last": 1.0}  # and what uniform attention has

Traces = dict[str, np.ndarray]  # {"rollout": (N, T), "flow": (N, T)}


def analyse(subject: Subject) -> Result | Skip:
    if reason := _no_shares(subject):
        return Skip(reason)
    inputs = _inputs.inputs(subject, SEQUENCES)
    uniform = [visible(subject.model, found.ids) for found in inputs]
    flat = [traces(weights) for weights in uniform]
    fresh = [[_corrected(traces(averaged(model, found.ids)), flat[index]) for index, found in enumerate(inputs)] for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    figures: dict[str, Figure] = {}
    arrays: dict[str, np.ndarray] = {}
    claims: list[Claim] = []
    for index, found in enumerate(inputs):
        weights = averaged(subject.model, found.ids)
        own = _corrected(traces(weights), flat[index])
        null = {kind: np.stack([model[index][kind] for model in fresh]) for kind in own}  # (models, N, T)
        for kind, values in own.items():
            metrics |= {f"{found.name}.{kind}.{score}": summary for score, summary in _summaries(values, null[kind]).items()}
            table += _rows({"sequences": found.name, "measure": kind}, values, null[kind])
            arrays[f"{found.name}.{kind}"] = values.astype(np.float32)
        figures[found.name] = _draw(weights[:, 0], found, own, null)
        sentence = f"On {found.name} sequences the share of the last token's rollout that is elsewhere than uniform attention's"
        name = f"{found.name}.rollout.uneven"
        claims.append(_verdicts.against(sentence, name, metrics[name], "untrained", "untrained models"))
    return Result(metrics, figures, {"": table}, {"": arrays}, claims)


def _no_shares(subject: Subject) -> str | None:
    """Why weights are no shares of what a token takes in; None where they are. What a sink takes goes nowhere."""
    if subject.without_weights:
        return subject.without_weights
    kind = subject.model.config.attention
    if kind != "softmax" and not VARIANTS[kind].normalised:
        return f"the rows of {kind.replace('_', ' ')} attention are no probabilities: they do not sum to one, and nothing says which part came from where"
    return None


def averaged(model: Any, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, T, T): the weights of each layer, averaged over its heads."""
    layers = range(model.config.depth)
    recorder = Recorder([f"{layer}.{name}" for layer in layers for name in ATTENDING])
    with torch.no_grad():
        model(torch.from_numpy(ids).to(model.device), tap=recorder)
        return torch.stack([model.attention_weights(recorder, layer).double().mean(1) for layer in layers]).cpu().numpy()


def visible(model: Any, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, T, T): uniform weights over what each token sees, which windows narrow."""
    layers = range(model.config.depth)
    recorder = Recorder([f"{layer}.seen" for layer in layers])
    with torch.no_grad():
        model(torch.from_numpy(ids).to(model.device), tap=recorder)
    masks = []
    for layer in layers:
        mask = np.tri(ids.shape[1])
        kernel = model.attentions[layer % model.config.n_layer].kernel
        if isinstance(kernel, SoftmaxKernel) and kernel.window is not None:
            mask = np.triu(mask, 1 - kernel.window)
        if (seen := recorder.values.get(f"{layer}.seen")) is not None:
            mask = mask * seen[:, 0].cpu().numpy()
        masks.append(np.broadcast_to(mask, (len(ids), *mask.shape[-2:])))
    every = np.stack(masks)
    return np.asarray(every / every.sum(-1, keepdims=True))


def traces(weights: np.ndarray) -> Traces:
    """(L, N, T, T) -> rollout and flow, as they are."""
    _, which, back = np.unique(weights, axis=1, return_index=True, return_inverse=True)  # uniform weights are often the same for all sequences
    flows = np.stack([_flow.flow(weights[:, n]) for n in which])
    return {"rollout": _flow.rollout(weights), "flow": flows[back.ravel()]}


def _corrected(found: Traces, uniform: Traces) -> Traces:
    return {kind: _flow.corrected(values, uniform[kind]) for kind, values in found.items()}


def scores(found: np.ndarray) -> dict[str, np.ndarray]:
    """(..., T), corrected -> the share, 0 to 1, that would have to move to make all tokens alike; what the first and the last token have (...)."""
    T = found.shape[-1]
    return {"uneven": np.abs(found - 1).sum(-1) / (2 * T), "first": found[..., 0], "last": found[..., -1]}


def _summaries(found: np.ndarray, null: np.ndarray) -> dict[str, Estimate]:
    own, fresh = scores(found), scores(null)
    n = len(found)
    return {
        name: estimate(own[name].mean(), n, {"untrained": fresh[name].mean(1)}, uniform=flat, **_intervals.of_mean(own[name])) for name, flat in SCORES.items()
    }


def _rows(facts: Row, found: np.ndarray, null: np.ndarray) -> list[Row]:
    """Every token."""
    fresh = null.mean(1)
    return [
        {**facts, "token": token, "value": found[:, token].mean(), "low": None, "high": None, **_intervals.of_mean(found[:, token]), "n": len(found)}
        | {"untrained": fresh[:, token].mean(), "untrained_low": fresh[:, token].min(), "untrained_high": fresh[:, token].max()}
        for token in range(found.shape[1])
    ]


def _draw(weights: np.ndarray, found: Input, own: Traces, null: Traces) -> Figure:
    """Above the paths through which one sequence's last state can have come, as wide as the rollout's share; below both measures of all sequences."""
    T = weights.shape[-1]
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(max(5.0, 1.6 + 0.36 * T), 2.6 + 0.75 * len(weights)), layout="constrained")
        graph, bars = figure.subplots(2, 1, sharex=True, height_ratios=(0.6 + 0.75 * len(weights), 1.7))
        _draw_graph(graph, weights)
        graph.set_title(f"{found.name}: rollout of one sequence's last token", fontsize=10)
        for number, (kind, colour) in enumerate(zip(own, COLOURS, strict=False)):
            x = np.arange(T) + (number - 0.5) * 0.36
            fresh = null[kind].mean(1)  # (models, T)
            bars.bar(x, own[kind].mean(0), 0.34, color=colour, label=kind)
            label = "untrained models" if number == len(own) - 1 else None
            bars.vlines(x, fresh.min(0), fresh.max(0), color=INK, linewidth=1.2, label=label)
        bars.axhline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), label="uniform attention")
        bars.set(ylabel="corrected share", xlabel=f"input token (labels: the sequence above; bars: mean of {len(own['flow'])})")
        bars.set_xticks(range(T), found.labels, rotation=90 if max(map(len, found.labels)) > 3 else 0, fontsize=7.5)
        figure.legend(*bars.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5)
    return figure


def _draw_graph(axes: Axes, weights: np.ndarray) -> None:
    through = _flow.reach(weights)
    for layer, edges in enumerate(_flow.with_residual(weights)):
        passed = through[layer + 1][:, None] * edges  # (T, T)
        for query, key in np.argwhere(passed > FAINT):
            colour = "#8c959f" if query == key else COLOURS[0]
            axes.plot([key, query], [layer, layer + 1], color=colour, linewidth=7 * passed[query, key] ** 0.7, solid_capstyle="round", alpha=0.75)
    for reached, size, colour in ((through <= FAINT, 4, "#c8cdd3"), (through > FAINT, 14, INK)):
        y, x = np.nonzero(reached)
        axes.scatter(x, y, s=size, color=colour, zorder=3)
    axes.set_yticks(range(len(through)), ["input", *(f"layer {layer}" for layer in range(len(weights)))])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
