"""What an adder loses without a head, an attention, an MLP: exact match by the length of the carry chain, paired sum by sum.

A value is replaced by its mean over the sums at the same position, so that it says nothing of a sum but stays one that the layers after it
know (zeros are none: Zhang & Nanda 2023, arXiv 2309.16042). By chain, as in Quirke & Barez 2023 (arXiv 2310.13121): a part that adds breaks
all sums, one that carries those with a carry. Nulls: of a head, as many random directions of all heads' outputs together, which says whether
its own directions are special; of everything, untrained models, which have next to nothing to lose.

Shapes: N sums, T tokens, H heads, V width of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from picollm.analysis import _sums
from picollm.analysis._drawing import HEATMAP
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._sums import Sums
from picollm.core.statistics import proportion
from picollm.nn.taps import Editor

EACH = 100  # sums of a length of chain
FEW = 10  # of those, for untrained models
DIRECTIONS = 19  # random sets of directions of a layer
SEED = 14
BOTH = 0.975  # the level of each of two intervals that hold together with 0.95


@dataclass(frozen=True)
class Part:
    layer: int
    site: str  # attn_out, mlp_post, or z
    head: int | None = None

    @property
    def name(self) -> str:
        return f"{self.layer}.{ {'attn_out': 'attention', 'mlp_post': 'mlp'}.get(self.site) or f'head{self.head}' }"


def analyse(subject: Subject) -> Result | Skip:
    config = _sums.task(subject)
    if isinstance(config, Skip):
        return config
    shown, chain = _sums.by_chain(config, EACH, SEED)
    few, _ = _sums.by_chain(config, FEW, SEED)
    fresh = []
    for model in untrained(subject):
        before = _sums.right(model, few)
        fresh.append({part: before.mean() - without(model, few, part).mean() for part in parts(model)})
    before = _sums.right(subject.model, shown)
    layers = {part.layer for part in parts(subject.model) if part.head is not None}
    directions = {layer: np.array([before.mean() - right.mean() for right in _without_directions(subject.model, shown, layer)]) for layer in layers}
    metrics, rows = dict[str, Estimate](), list[Row]()
    for part in parts(subject.model):
        after = without(subject.model, shown, part)
        nulls = {"untrained": np.array([model[part] for model in fresh])}
        if part.head is not None:
            nulls["directions"] = directions[part.layer]
        strata = {length: _change(before[chain == length], after[chain == length]) for length in np.unique(chain).tolist()}
        facts: dict[str, float] = {"layer": part.layer, **({} if part.head is None else {"head": part.head})}
        for length, stratum in strata.items():
            rows.append({"part": part.name, "chain": length, "right": before[chain == length].mean(), **stratum})
            facts |= {f"chain{length}{name}": stratum[key] for name, key in (("", "drop"), ("_low", "low"), ("_high", "high"))}
        whole = _change(before, after)
        metrics[part.name] = estimate(whole["drop"], len(before), nulls, low=whole["low"], high=whole["high"], **facts)
    return Result(metrics, {"": _draw(rows)}, {"": rows}, claims=_claims(metrics, np.unique(chain).tolist()))


def parts(model: Any) -> list[Part]:
    found = []
    for layer in range(model.config.depth):
        if model.config.attention != "convolution":
            found += [Part(layer, "z", head) for head in range(model.config.n_head)]
        found += [Part(layer, "attn_out"), Part(layer, "mlp_post")]
    return found


def without(model: Any, of: Sums, part: Part) -> np.ndarray:
    """(N,) bool: which sums are right when the part is at its mean."""

    def edit(value: Tensor) -> Tensor:
        edited, where = value.clone(), slice(None) if part.head is None else (slice(None), part.head)
        edited[where] = value[where].mean(0)
        return edited

    return _sums.right(model, of, Editor({f"{part.layer}.{part.site}": edit}))


def _without_directions(model: Any, of: Sums, layer: int) -> list[np.ndarray]:
    """The same of as many random directions of the heads' outputs as one head has."""
    result = []
    generator = torch.Generator().manual_seed(SEED)
    width = model.attentions[layer % model.config.n_layer].width
    for _ in range(DIRECTIONS):
        axes, _ = torch.linalg.qr(torch.randn(model.config.n_head * width, width, generator=generator))
        result.append(_sums.right(model, of, Editor({f"{layer}.z": _at_mean_along(axes.to(model.device))})))
    return result


def _at_mean_along(axes: Tensor) -> Callable[[Tensor], Tensor]:
    """axes (H V, V), orthonormal."""

    def edit(value: Tensor) -> Tensor:  # (B, H, T, V)
        B, H, T, V = value.shape
        flat = value.transpose(1, 2).reshape(B, T, H * V)
        moved = flat - (flat - flat.mean(0)) @ axes @ axes.mT
        return moved.view(B, T, H, V).transpose(1, 2)

    return edit


def _change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """The drop of a share, paired, with a 95 % interval: losses and gains have one each (Clopper & Pearson), which hold together."""
    n = len(before)
    lost, gained = (proportion(int(changed.sum()), n, BOTH) for changed in (before & ~after, after & ~before))
    return {"drop": before.mean() - after.mean(), "low": lost["low"] - gained["high"], "high": lost["high"] - gained["low"], "n": n}


def _claims(metrics: dict[str, Estimate], chains: list[int]) -> list[Claim]:
    """Of the costliest head, the one whose cost rises most with the chain, the one without a cost; and of every layer's attention and MLP."""
    shortest, longest = f"chain{chains[0]}", f"chain{chains[-1]}"
    heads = [name for name, metric in metrics.items() if "head" in metric]
    claims = []
    if heads:
        rises = {name: metrics[name][f"{longest}_low"] - metrics[name][f"{shortest}_high"] for name in heads}
        chosen = {
            "costs most": max(heads, key=lambda name: metrics[name]["value"]),
            "costs least": min(heads, key=lambda name: metrics[name]["value"]),
            **({"costs sums that carry far more than others": max(rises, key=lambda name: rises[name])} if max(rises.values()) > 0 else {}),
        }
        if metrics[chosen["costs least"]]["value"] == metrics[chosen["costs most"]]["value"]:
            del chosen["costs least"]  # all cost the same
        for what, m in chosen.items():
            against = f"as many random directions cost {{{m}:directions}}, at most {{{m}:directions_high}}"
            claims.append(Claim(f"Of all heads, head {{{m}:head}} of layer {{{m}:layer}} {what}: {_lost(m, shortest, longest)} ({against})."))
    for name in metrics:
        if name not in heads:
            what = "attention" if name.endswith("attention") else "MLP"
            claims.append(
                Claim(f"Without the {what} of layer {{{name}:layer}}: {_lost(name, shortest, longest)} (untrained models at most {{{name}:untrained_high}}).")
            )
    return claims


def _lost(m: str, shortest: str, longest: str) -> str:
    return (
        f"a share of {{{m}:value}} of {{{m}:n}} sums is lost [{{{m}:low}}, {{{m}:high}}], of those without a carry "
        f"{{{m}:{shortest}}} [{{{m}:{shortest}_low}}, {{{m}:{shortest}_high}}], of those with the longest chain {{{m}:{longest}}} "
        f"[{{{m}:{longest}_low}}, {{{m}:{longest}_high}}]"
    )


def _draw(rows: list[Row]) -> Figure:
    """A row a part, a column a length of chain."""
    names, chains = (list(dict.fromkeys(row[key] for row in rows)) for key in ("part", "chain"))
    drops = np.array([row["drop"] for row in rows]).reshape(len(names), len(chains))
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(2.2 + 0.7 * len(chains), 1.1 + 0.28 * len(names)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(drops, cmap="Reds", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        for (y, x), value in np.ndenumerate(drops):
            axes.text(x, y, f"{value + 0.0:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black")
        axes.set_xticks(range(len(chains)), [str(chain) for chain in chains])
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("columns of the longest carry chain")
        axes.set_title("exact match lost without a part", fontsize=9)
        figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02).outline.set_visible(False)
    return figure
