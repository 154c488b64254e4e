"""Which columns an adder's heads look at when a digit of the answer is asked for; and whether they align digits, as a picture of them suggests.

The original reads a heatmap of `+101+2001+3011+`: bright bars on the unit digits, corresponding digits aligned. Here both are numbers
beside what uniform attention and untrained heads give: a mask that shows three columns alone "aligns" digits whatever was learned.
A score is kappa: 0 is the share that uniform attention over the tokens in sight gives, 1 is all of the weight. Source of what to look
for: Quirke & Barez 2023 (arXiv 2310.13121), whose heads each fetch a column's pair of digits, or the column below for its carry.

Shapes: L layers, N sums, H heads, Q queries, T tokens, M measures.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from picollm.analysis import _sums
from picollm.analysis._drawing import HEATMAP
from picollm.analysis._nulls import family_wise, untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._sums import Sums
from picollm.core import statistics
from picollm.models import Model
from picollm.nn.taps import ATTENDING, Recorder

DRAWN = 64  # sums
SEED = 11
TINY = 1e-12  # a row without any weight stays one
LEVEL = 0.05
MOSTLY = 0.5  # kappa
ASKED = ("own", "below", "above", "elsewhere", "delimiter", "answer")  # of the queries that answer
ANY = ("aligned", "units")  # of all queries
MEANS = {
    "own": "the operands' digits of the column that is asked for",
    "below": "those of the column below it, which decides its carry",
    "above": "those of the column above it",
    "elsewhere": "their other digits",
    "delimiter": "delimiters",
    "answer": "the answer so far",
    "aligned": "digits of the column of the digit that looks",
    "units": "unit digits",
}


@dataclass(frozen=True, eq=False)
class Places:
    """What each query may look at, and which of that a measure counts."""

    query: np.ndarray  # (N, Q): positions, -1 for none
    seen: np.ndarray  # (N, Q, T) bool
    counted: dict[str, np.ndarray]  # measure -> (N, Q, T) bool


def analyse(subject: Subject) -> Result | Skip:
    config = _sums.task(subject)
    if isinstance(config, Skip):
        return config
    if subject.without_weights:
        return Skip(subject.without_weights)
    shown = _sums.drawn(config, DRAWN, SEED)
    null = [{name: value.mean(1) for name, value in scores(model, shown).items()} for model in untrained(subject)]
    found = scores(subject.model, shown)  # measure -> (L, N, H)
    measures, heads = list(found), np.stack([value.mean(1) for value in found.values()], -1)  # (L, H, M)
    fresh = np.stack([np.stack([model[name] for name in measures], -1) for model in null])  # (models, L, H, M)
    p = family_wise(heads, fresh)
    example = _sums.original(config)
    return Result(
        _metrics(found, heads, fresh, p),
        {"scores": _draw_scores(heads, p, measures), "example": _draw_example(weights(subject.model, example)[0][:, 0], example)},
        {"": _table(found, fresh, p)},
        {"": {"scores": heads.astype(np.float32), "measures": np.array(measures)}},
        _claims(measures, heads, p),
    )


def weights(model: Any, of: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each row's absolute weight, (L, N, H, T, T), and (N, T, T) bool: what the mask shows."""
    recorder = Recorder([f"{layer}.{name}" for layer in range(model.config.depth) for name in ATTENDING])
    _sums.logits(model, of.ids, recorder)
    with torch.no_grad():
        sizes = torch.stack([model.attention_weights(recorder, layer) for layer in range(model.config.depth)]).abs()
    N, T = of.ids.shape
    seen = recorder.values.get("0.seen")
    visible = np.broadcast_to(np.tri(T, dtype=bool), (N, T, T)) if seen is None else seen[:, 0].cpu().numpy()
    return (sizes / sizes.sum(-1, keepdim=True).clamp_min(TINY)).cpu().numpy(), visible


def scores(model: Model, of: Sums) -> dict[str, np.ndarray]:
    """{measure: kappa (L, N, H)}, averaged over the queries that have something to count and something else in sight; without the measures that none has."""
    matrices, visible = weights(model, of)
    result = {}
    for places in (_asked(of, visible), _any(of, visible)):
        row = np.take_along_axis(matrices, places.query.clip(0)[None, :, None, :, None], 3)  # (L, N, H, Q, T)
        row = row * places.seen[None, :, None]
        total = row.sum(-1)
        for name, counted in places.counted.items():
            chance = counted.sum(-1) / places.seen.sum(-1).clip(1)  # (N, Q)
            told = (places.query >= 0) & (chance > 0) & (chance < 1)
            if not told.any(1).all():
                continue
            share = (row * counted[None, :, None]).sum(-1) / total.clip(TINY)
            kappa = (share - chance[:, None]) / np.where(told, 1 - chance, 1)[:, None]
            result[name] = (kappa * told[:, None]).sum(-1) / told.sum(1)[:, None]
    return result


def _asked(of: Sums, visible: np.ndarray) -> Places:
    """The queries that answer, by where a key stands relative to the column that is asked for."""
    columns, W = of.columns[:, None], of.digits.shape[2]  # (N, 1, T)
    operand = (np.arange(of.ids.shape[1]) < 1 + 2 * (W + 1)) & (columns >= 0)
    apart = columns - np.arange(W + 1)[:, None]  # (N, A, T)
    counted = {name: operand & (apart == step) for name, step in (("own", 0), ("below", -1), ("above", 1))}
    counted["elsewhere"] = operand & (np.abs(apart) > 1)
    counted["delimiter"] = np.broadcast_to((of.ids == of.config.delimiter)[:, None], apart.shape)
    counted["answer"] = np.broadcast_to(~operand & (columns >= 0), apart.shape)
    seen = np.take_along_axis(visible, of.asks.clip(0)[:, :, None], 1)
    return Places(of.asks, seen, {name: mask & seen for name, mask in counted.items()})


def _any(of: Sums, visible: np.ndarray) -> Places:
    """All queries, but for what they see of themselves."""
    N, T = of.ids.shape
    columns, seen = of.columns, visible & ~np.eye(T, dtype=bool)
    aligned = (columns[:, None] == columns[:, :, None]) & (columns >= 0)[:, :, None]
    units = np.broadcast_to((columns == 0)[:, None], seen.shape)
    return Places(np.tile(np.arange(T), (N, 1)), seen, {"aligned": aligned & seen, "units": units & seen})


def _metrics(found: dict[str, np.ndarray], heads: np.ndarray, fresh: np.ndarray, p: np.ndarray) -> dict[str, Estimate]:
    """Of each measure the highest head, held against the highest of each untrained model, and its family-wise p over all heads and measures."""
    metrics = {}
    for m, (name, values) in enumerate(found.items()):
        layer, head = (int(place) for place in np.unravel_index(heads[:, :, m].argmax(), heads.shape[:2]))
        facts = {"layer": layer, "head": head, "uniform": 0.0, "family_p": float(p[layer, head, m])}
        metrics[name] = estimate(heads[layer, head, m], values.shape[1], {"untrained": fresh[..., m].max((1, 2))}, **_interval(values[layer, :, head]), **facts)
    return metrics


def _table(found: dict[str, np.ndarray], fresh: np.ndarray, p: np.ndarray) -> list[Row]:
    """Every head, beside all untrained heads of its layer."""
    rows = []
    for m, (name, values) in enumerate(found.items()):
        for layer, head in np.ndindex(values.shape[0], values.shape[2]):
            own, null = values[layer, :, head], fresh[:, layer, :, m]
            rows.append(
                {"measure": name, "layer": layer, "head": head, "kappa": own.mean(), **_interval(own), "n": len(own), "uniform": 0.0}
                | {"untrained": null.mean(), "untrained_low": null.min(), "untrained_high": null.max(), "family_p": p[layer, head, m]}
            )
    return rows


def _interval(values: np.ndarray) -> dict[str, float]:
    """The ends of the 95 % interval over sums."""
    summary = statistics.summary([float(value) for value in values])
    return {key: summary[key] for key in ("low", "high")}


def _claims(measures: list[str], heads: np.ndarray, p: np.ndarray) -> list[Claim]:
    """What holds and what does not; of the original's two the verdict whichever it is."""
    claims = []
    for m, name in enumerate(measures):
        layer, head = np.unravel_index(heads[:, :, m].argmax(), heads.shape[:2])
        numbers = f"head {{{name}:head}} of layer {{{name}:layer}} scores {{{name}:value}} [{{{name}:low}}, {{{name}:high}}]"
        against = f"untrained models reach {{{name}:untrained_high}}, family-wise p {{{name}:family_p}}"
        if p[layer, head, m] <= LEVEL and heads[layer, head, m] > 0:
            how = "mostly at" if heads[layer, head, m] >= MOSTLY else "more than chance does, but little, at"
            claims.append(Claim(f"A head looks {how} {MEANS[name]}: {numbers} between uniform attention and all of its weight ({against})."))
        elif name in ANY:
            claims.append(Claim(f"Tested, not found: heads that look at {MEANS[name]}. The highest, {numbers} ({against})."))
    return claims


def _draw_scores(heads: np.ndarray, p: np.ndarray, measures: list[str]) -> Figure:
    """(L, H, M) -> a row a head, a column a measure; bold where the family-wise p reaches LEVEL."""
    L, H, M = heads.shape
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(1.5 + 0.85 * M, 1.0 + 0.3 * L * H), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(heads.reshape(L * H, M), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        for (layer, head, m), value in np.ndenumerate(heads):
            sure = value > 0 and p[layer, head, m] <= LEVEL
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(m, layer * H + head, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour, weight="bold" if sure else "normal")
        asked = sum(name in ASKED for name in measures)
        axes.axvline(asked - 0.5, color="white", linewidth=3)  # between the queries that answer and all queries
        axes.set_xticks(range(M), measures)
        axes.set_yticks(range(L * H), [f"layer {layer} head {head}" for layer in range(L) for head in range(H)])
        axes.set_title(f"kappa; bold: family-wise p up to {LEVEL:g}", fontsize=9)
        figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02).outline.set_visible(False)
    return figure


def _draw_example(matrices: np.ndarray, of: Sums) -> Figure:
    """(L, H, T, T) -> a panel a head; unit digits are marked, and the queries that answer."""
    L, H, T, _ = matrices.shape
    size = max(1.3, 0.11 * T + 0.3)
    labels = ["+" if token == of.config.delimiter else "" if token > of.config.delimiter else str(token) for token in of.ids[0]]
    units, asks = np.flatnonzero(of.columns[0] == 0), [int(ask) for ask in of.asks[0] if ask >= 0]
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(H * size + 1.1, L * size + 0.7), layout="constrained")
        for index, axes in enumerate(figure.subplots(L, H, squeeze=False).flat):
            layer, head = divmod(index, H)
            hidden = np.triu(np.ones((T, T), bool), 1)
            image = axes.imshow(np.ma.masked_where(hidden, matrices[layer, head]), cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks(range(T), labels, fontsize=6)
            axes.set_yticks(range(T), labels, fontsize=6)
            for k, tick in enumerate(axes.get_xticklabels()):
                tick.set(color="#D55E00" if k in units else "black", weight="bold" if k in units else "normal")
            for k, tick in enumerate(axes.get_yticklabels()):
                tick.set(color="#0072B2" if k in asks else "black", weight="bold" if k in asks else "normal")
            axes.set_title(f"layer {layer} head {head}", fontsize=8)
        figure.colorbar(image, ax=figure.axes, fraction=0.03, pad=0.01).outline.set_visible(False)
        figure.supxlabel("digit looked at (unit digits in red)", fontsize=8)
        figure.supylabel("token looking (blue: it answers)", fontsize=8)
    return figure
