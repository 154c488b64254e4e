"""Who speaks for the right token: its logit above the mean of all logits, as a sum over embedding, heads, MLPs and biases.

Direct logit attribution: what a part says by itself, not what others make of it further up. See _parts.py for how it is exact.
Two nulls: untrained models, and other tokens, those that are right at other places: what speaks for any frequent token is none
of this one's evidence.

Shapes: P parts, N sequences, M places, L layers, H heads, D model width.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from picollm.analysis import _head_grid, _intervals
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import family_wise, permutations, untrained
from picollm.analysis._parts import BIAS, parts
from picollm.analysis._predictions import Asked, asked
from picollm.analysis._result import FEWEST_FOR_P, Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.report.figures import COLOURS, INK

SEED = 5
GROUPS = ("embed", "attention", "mlp", BIAS)
WHOSE = ("from the embedding", "from heads", "from MLPs", "from biases")


@dataclass(frozen=True, eq=False)
class Attributed:
    """The parts of one model's predictions, each with its share of the logit, in logits."""

    names: list[str]
    shares: np.ndarray  # (P, M) of the right token
    others: np.ndarray  # (orders, P): the means where other right tokens take its place
    error: np.ndarray  # (M,): what their sum misses of the logit, relative to the largest logit of its place

    @cached_property
    def group(self) -> np.ndarray:
        """(P,): which of GROUPS each part is of."""
        return np.array([name if name in GROUPS else "mlp" if name.endswith(".mlp") else "attention" for name in self.names])

    def heads(self, values: np.ndarray) -> np.ndarray:
        """Of (..., P) those of heads, (..., L, H)."""
        layers = sum(name.endswith(".mlp") for name in self.names)
        own = values[..., self.group == "attention"]
        return own.reshape(*own.shape[:-1], layers, -1)

    def grouped(self, values: np.ndarray, axis: int) -> dict[str, np.ndarray]:
        """The sums of groups along the axis of parts, and their total."""
        return {**{name: values.compress(self.group == name, axis).sum(axis) for name in GROUPS}, "logit": values.sum(axis)}


def attributed(model: Any, ask: Asked, orders: int = 0) -> Attributed:
    """`orders`: how often the right tokens change places."""
    found, logits = parts(model, ask.inputs, ask.places)
    targets = ask.targets[ask.places].to(model.device)
    with torch.no_grad():
        towards = model.head.weight - model.head.weight.mean(0)  # (vocabulary, D): a token's logit above the mean of all
        values = torch.stack(list(found.values()))  # (P, M, D)
        shares = (values * towards[targets]).sum(-1)
        shuffled = (targets[order] for order in islice(permutations(len(targets), SEED), orders))
        others = [torch.einsum("pmd,md->p", values, towards[wrong]).cpu().numpy() / len(targets) for wrong in shuffled]
        logit = logits.gather(-1, targets[:, None])[:, 0] - logits.mean(-1)
        error = (shares.sum(0) - logit).abs() / logits.abs().amax(-1)
    return Attributed(list(found), shares.double().cpu().numpy(), np.array(others, np.float64), error.double().cpu().numpy())


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if subject.model.config.attention == "convolution":
        return Skip("a convolution has no heads to tell apart")
    asks = asked(subject)
    fresh = [[_means(attributed(model, ask)) for ask in asks] for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims: list[Claim] = []
    drawn: dict[str, tuple[Attributed, np.ndarray]] = {}
    for index, ask in enumerate(asks):
        found = attributed(subject.model, ask, FEWEST_FOR_P)
        values = ask.means(found.shares)  # (P, N)
        null = np.stack([model[index][0] for model in fresh])  # (models, P)
        drawn[ask.name] = found, values
        metrics |= {f"{ask.name}.{name}": value for name, value in _groups(found, values, null).items()}
        metrics[f"{ask.name}.highest_head"] = _highest(found, values, null)
        missed, errors = ask.means(found.error), np.array([model[index][1] for model in fresh])
        largest = float(found.error.max())
        metrics[f"{ask.name}.missed"] = estimate(missed.mean(), len(missed), {"untrained": errors}, **_intervals.of_mean(missed), largest=largest)
        table += _rows(ask.name, found, values, null)
        claims += _claims(ask.name, metrics[f"{ask.name}.highest_head"])
    return Result(metrics, {"": _draw(drawn)}, {"": table}, claims=claims)


def _means(found: Attributed) -> tuple[np.ndarray, float]:
    return found.shares.mean(1), float(found.error.mean())


def _groups(found: Attributed, values: np.ndarray, null: np.ndarray) -> dict[str, Estimate]:
    """The total and its share from each group of parts."""
    nulls, others = found.grouped(null, 1), found.grouped(found.others, 1)
    return {
        name: estimate(own.mean(), len(own), {"untrained": nulls[name], "other_tokens": others[name]}, **_intervals.of_mean(own))
        for name, own in found.grouped(values, 0).items()
    }


def _highest(found: Attributed, values: np.ndarray, null: np.ndarray) -> Estimate:
    """The head that says most for the right token; it was looked for in the nulls too."""
    heads = found.heads(values.mean(1))
    layer, head = (int(place) for place in np.unravel_index(heads.argmax(), heads.shape))
    nulls = {"untrained": found.heads(null).max((1, 2)), "other_tokens": found.heads(found.others).max((1, 2))}
    own = found.heads(values.T)[:, layer, head]
    return estimate(own.mean(), len(own), nulls, **_intervals.of_mean(own), layer=layer, head=head)


def _rows(name: str, found: Attributed, values: np.ndarray, null: np.ndarray) -> list[Row]:
    """Every part; p of heads against the highest head of each null."""
    means = values.mean(1)
    p = {kind: family_wise(found.heads(means), found.heads(other)).ravel() for kind, other in (("untrained", null), ("other_tokens", found.others))}
    heads = np.cumsum(found.group == "attention") - 1  # the number of a head among the heads
    return [
        {"sequences": name, "part": part, "group": found.group[i], "value": means[i], "low": None, "high": None, **_intervals.of_mean(values[i])}
        | {"n": values.shape[1], "untrained_low": null[:, i].min(), "untrained_high": null[:, i].max()}
        | {"other_tokens_low": found.others[:, i].min(), "other_tokens_high": found.others[:, i].max()}
        | {f"{kind}_p": own[heads[i]] if found.group[i] == "attention" else None for kind, own in p.items()}
        for i, part in enumerate(found.names)
    ]


def _claims(name: str, highest: Estimate) -> list[Claim]:
    head, sums = f"{name}.highest_head", ", ".join(f"{{{name}.{group}:value}} {whose}" for group, whose in zip(GROUPS, WHOSE, strict=True))
    who = f"{name}: head {{{head}:head}} of layer {{{head}:layer}} says most for it by itself, {{{head}:value}}"
    nulls = f"the highest head of untrained models reaches {{{head}:untrained_high}}, the highest here for tokens right elsewhere {{{head}:other_tokens_high}}"
    found = highest["value"] > max(highest["untrained_high"], highest["other_tokens_high"])
    return [
        Claim(f"{name}: the right token stands {{{name}.logit:value}} logits above the mean: {sums}."),
        Claim(f"{who}; {nulls}{'' if found else ': a head that speaks for the right token was tested for and not found'}."),
    ]


def _draw(drawn: dict[str, tuple[Attributed, np.ndarray]]) -> Figure:
    """A row for each kind of sequence: the heads as a grid, and the sums of layers as bars."""
    L, H = next(found.heads(values.mean(1)).shape for found, values in drawn.values())
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(max(2.6, 0.5 * H + 1.2) + max(4.0, 0.7 * L + 2.2), max(2.6, 0.33 * L + 1.1) * len(drawn)), layout="constrained")
        grid = figure.subplots(len(drawn), 2, squeeze=False, width_ratios=(max(2.6, 0.5 * H + 1.2), max(4.0, 0.7 * L + 2.2)))
        for (left, right), (name, (found, values)) in zip(grid, drawn.items(), strict=True):
            heads = found.heads(values.mean(1))
            _head_grid.draw(left, heads, f"{name}: every head, logits", max(float(np.abs(heads).max()), 1e-9))
            _bars(right, found, values)
    return figure


def _bars(axes: Axes, found: Attributed, values: np.ndarray) -> None:
    L = found.heads(values.T).shape[1]
    mlps = values[found.group == "mlp"]
    bars = [("embed", values[found.names.index("embed")], INK)]
    for layer in range(L):
        bars += [(f"heads {layer}", found.heads(values.T)[:, layer].sum(-1), COLOURS[0]), (f"MLP {layer}", mlps[layer], COLOURS[1])]
    if BIAS in found.names:
        bars.append(("biases", values[found.names.index(BIAS)], INK))
    for place, (_, own, colour) in enumerate(bars):
        ends = _intervals.of_mean(own)
        reach = [[own.mean() - ends["low"]], [ends["high"] - own.mean()]] if ends else None
        axes.bar(place, own.mean(), 0.7, color=colour, yerr=reach, ecolor=INK, capsize=2, error_kw={"linewidth": 1})
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(bars)), [name for name, _, _ in bars], rotation=45, ha="right")
    axes.set(title="sums of layers, 95 % over sequences", ylabel="logit of the right token\nabove the mean logit")
    axes.grid(visible=False, axis="x")
