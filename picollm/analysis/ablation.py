"""What each head, each layer's attention and each MLP is worth: nats that the run's own test data cost more without it.

Three ways to take a part away, see picollm/analysis/_ablation.py; where they disagree, the way is what is measured. Of a part that others
cover for, little is to be seen here: head_roles takes heads away together.

Shapes: P parts, N sequences, M null models, L layers, H heads.
"""

import matplotlib
import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from picollm.analysis._ablation import HOWS, Ablation, Part, heads_of, interval, layers_of
from picollm.analysis._drawing import HEATMAP
from picollm.analysis._losses import examples, first
from picollm.analysis._nulls import family_wise, untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.models import Model
from picollm.training.batches import Batch

FEW = 200  # tokens, for untrained models
LINEAR = 0.01  # nats: the scale of colours is linear up to here and logarithmic beyond
KINDS = ("head", "attention", "mlp")


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    batch = examples(subject)
    if isinstance(batch, Skip):
        return batch
    parts = heads_of(subject.model) + layers_of(subject.model)
    few = first(batch, FEW)
    fresh = [{how: values.mean(-1) for how, values in effects(model, few, parts).items()} for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    found = effects(subject.model, batch, parts)
    for how, values in found.items():
        null = np.stack([model[how] for model in fresh])  # (M, P)
        for kind in KINDS:
            chosen = [index for index, part in enumerate(parts) if part.kind == kind]
            if not chosen:
                continue
            p = family_wise(values[chosen].mean(-1), null[:, chosen])
            metrics[f"{kind}.{how}"] = _highest([parts[index] for index in chosen], values[chosen], null[:, chosen], p)
            table += [_row(parts[index], how, values[index], null[:, index], p[place]) for place, index in enumerate(chosen)]
    claims = [Claim(_sentence(kind)) for kind in KINDS if f"{kind}.mean" in metrics]
    return Result(metrics, {"": _draw(parts, {how: values.mean(-1) for how, values in found.items()})}, {"": table}, {"": found}, claims)


def effects(model: Model, batch: Batch, parts: list[Part]) -> dict[str, np.ndarray]:
    """{how: (P, N) nats}, one part at a time."""
    ablation = Ablation(model, batch, parts)
    return {how: ablation.without([[part] for part in parts], how) for how in HOWS}


def _highest(parts: list[Part], values: np.ndarray, null: np.ndarray, p: np.ndarray) -> Estimate:
    """The part of its kind that matters most, held against the one of each untrained model that does."""
    best = int(values.mean(-1).argmax())
    place = {"layer": parts[best].layer, **({"head": parts[best].head} if parts[best].kind == "head" else {})}
    return estimate(values[best].mean(), values.shape[1], {"untrained": null.max(1)}, **interval(values[best]), **place, p=p[best])


def _row(part: Part, how: str, values: np.ndarray, null: np.ndarray, p: float) -> Row:
    row: Row = {"part": part.kind, "layer": part.layer, "head": part.head if part.kind == "head" else None, "ablation": how, "effect": values.mean()}
    return row | interval(values) | {"n": len(values), "p": p, "untrained": null.mean(), "untrained_low": null.min(), "untrained_high": null.max()}


def _sentence(kind: str) -> str:
    what = {"head": "Head {head.mean:head} of layer", "attention": "Attention of layer", "mlp": "The MLP of layer"}[kind]
    ways = f"{{{kind}.mean:value}} nats when it gives its mean ({{{kind}.mean:low}} to {{{kind}.mean:high}}; untrained {{{kind}.mean:untrained}})"
    others = f"the most that any costs at zero is {{{kind}.zero:value}}, resampled {{{kind}.resampled:value}}"
    return f"{what} {{{kind}.mean:layer}} is the one that counts most: {ways}; {others}."


def _draw(parts: list[Part], found: dict[str, np.ndarray]) -> Figure:
    """One panel for each way: a row a layer, a column a head, and the layer's attention and MLP."""
    L, H = 1 + max(part.layer for part in parts), 1 + max(part.head for part in parts)
    names = [*(str(head) for head in range(H)), "attention", "MLP"]
    maps = {how: np.full((L, len(names)), np.nan) for how in found}
    for index, part in enumerate(parts):
        column = part.head if part.kind == "head" else names.index({"attention": "attention", "mlp": "MLP"}[part.kind])
        for how, values in found.items():
            maps[how][part.layer, column] = values[index]
    most = max(LINEAR * 10, *(np.nanmax(np.abs(values)) for values in maps.values()))
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(1.5 + 0.62 * len(names), 0.9 + len(found) * (0.55 + 0.36 * L)), layout="constrained")
        for axes, (how, values) in zip(figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0], maps.items(), strict=True):
            image = axes.imshow(values, norm=SymLogNorm(LINEAR, vmin=-most, vmax=most), cmap="RdBu_r", aspect="auto", interpolation="nearest")
            axes.set_yticks(range(L))
            axes.set(title=f"each part {how}", ylabel="layer")
            for (y, x), value in np.ndenumerate(values):
                dark = abs(value) > most / 4
                axes.text(x, y, "" if np.isnan(value) else f"{value:.2g}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
        axes.set_xticks(range(len(names)), [*(f"head {head}" for head in range(H)), "attention", "MLP"], rotation=45, ha="right", rotation_mode="anchor")
        figure.colorbar(image, ax=figure.axes, label="nats more without it", pad=0.02, aspect=40).outline.set_visible(False)
    return figure
