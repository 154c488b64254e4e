"""Can a carry be read off an adder's activations by a linear map: at which layer, where the digit is asked for, or where its carry is decided?

Probes see pairs of sums that differ in one carry alone (see _sums.py), so the digits of the column, and what is written below it, say
nothing of it: the embedding where a digit is asked for gives one half. A probe may also learn by heart which pairs of digits carry.
How well it can is measured by control tasks (Hewitt & Liang 2019, arXiv 1909.03368): random labels of the deciding pairs of digits.
What can be read need not be used: addition_carry_swaps.py tells.

Shapes: N sums, D model width, K labels: the carry, then the control tasks.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from picollm.analysis import _sums
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Result, Row, Skip, Subject, estimate
from picollm.analysis._ridge import Ridge
from picollm.analysis._sums import KINDS, Pairs
from picollm.core.statistics import proportion
from picollm.nn.taps import Recorder
from picollm.report.figures import COLOURS, INK

EACH = 120  # pairs of a column: one half fits its probe, the other judges it
CONTROLS = 19
SEED = 12
PLACES = {"asking": "where the digit is asked for", "deciding": "at the last of the two digits that decide the carry"}


@dataclass(frozen=True, eq=False)
class Shown:
    """Both sums of all pairs, one after the other, with their labels."""

    ids: np.ndarray  # (N, T)
    places: dict[str, np.ndarray]  # place -> (N,) positions
    labels: np.ndarray  # (N, K) of -1 and 1
    column: np.ndarray  # (N,)
    fitted: np.ndarray  # (N,) bool: the other half judges; a pair is on one side


def analyse(subject: Subject) -> Result | Skip:
    config = _sums.task(subject)
    if isinstance(config, Skip):
        return config
    made = _sums.carried(config, EACH, SEED)
    if isinstance(made, Skip):
        return made
    kinds = {name: shown(pairs) for name, pairs in made.items()}
    fresh = [{name: accuracies(model, kind) for name, kind in kinds.items()} for model in untrained(subject)]
    metrics, rows, claims = {}, list[Row](), []
    for name, kind in kinds.items():
        judged = int((~kind.fitted).sum())
        found = accuracies(subject.model, kind)
        for part, shares in found.items():
            rate = proportion(round(shares[0] * judged), judged)
            nulls = {"control": shares[1:], "untrained": np.array([model[name][part][0] for model in fresh])}
            place, _, site = part.partition(".")
            facts = {"low": rate["low"], "high": rate["high"], "chance": 0.5}
            metrics[f"{name}.{part}"] = estimate(shares[0], judged, nulls, **facts, **({} if site == "embed" else {"layer": int(site.split(".")[0])}))
            rows.append({"carry": name, "place": place, "site": site, **estimate(shares[0], judged, nulls, **facts)})
        for place in kind.places:
            own = [part for part in found if part.startswith(place)]
            best = max(own, key=lambda part: found[part][0] - _null(part, found[part], [model[name] for model in fresh]))
            sure = metrics[f"{name}.{best}"]["low"] > _null(best, found[best], [model[name] for model in fresh])
            claims.append(_claim(f"{name}.{best}", name, place, sure))
    return Result(metrics, {"": _draw(rows)}, {"": rows}, claims=claims)


def shown(pairs: Pairs) -> Shown:
    members = (pairs.one, pairs.other)
    n, rng = len(pairs.column), np.random.Generator(np.random.PCG64(SEED))
    base = pairs.one.config.base
    tables = rng.choice([-1.0, 1.0], size=(base, base, CONTROLS))
    labels = []
    for member in members:
        every = np.arange(n)
        deciding = member.digits[every, :, pairs.deciding].astype(int)
        carry = 2.0 * member.carries[every, pairs.column] - 1
        labels.append(np.column_stack((carry, tables[deciding[:, 0], deciding[:, 1]])))
    places = {"asking": pairs.ask, "deciding": np.asarray(pairs.one.operand(1, pairs.deciding))}
    return Shown(
        np.concatenate([member.ids for member in members]),
        {name: np.tile(place, 2) for name, place in places.items()},
        np.concatenate(labels),
        np.tile(pairs.column, 2),
        np.tile(np.arange(n) % 2 == 0, 2),
    )


def accuracies(model: Any, kind: Shown) -> dict[str, np.ndarray]:
    """{"asking.0.resid_mid": the share of judged sums whose label a probe of that column tells, (K,)}"""
    sites = ["embed", *(f"{layer}.{site}" for layer in range(model.config.depth) for site in ("resid_mid", "resid_post"))]
    recorder = Recorder(sites)
    _sums.logits(model, kind.ids, recorder)
    rows = torch.arange(len(kind.ids))
    return {
        f"{place}.{site}": told(recorder[site][rows, torch.from_numpy(at)].cpu().numpy().astype(np.float64), kind)
        for place, at in kind.places.items()
        for site in sites
    }


def told(x: np.ndarray, kind: Shown) -> np.ndarray:
    """x (N, D) -> (K,), over all columns; each column has a probe of its own, for its carry may lie in a direction of its own."""
    right = np.zeros(kind.labels.shape[1])
    for column in np.unique(kind.column):
        fit, judge = (np.flatnonzero((kind.column == column) & side) for side in (kind.fitted, ~kind.fitted))
        ridge = Ridge(np.concatenate((x[fit], x[judge])), len(fit))
        predicted = ridge.predict(ridge.fit(kind.labels[fit].astype(complex))[0]).real
        right += ((predicted > 0) == (kind.labels[judge] > 0)).sum(0)
    return right / (~kind.fitted).sum()


def _null(part: str, shares: np.ndarray, fresh: list[dict[str, np.ndarray]]) -> float:
    """The most that a control task or an untrained model reaches."""
    return max(shares[1:].max(), *(model[part][0] for model in fresh))


def _claim(metric: str, kind: str, place: str, found: bool) -> Claim:
    """Of the site that is furthest above the highest of its nulls, or least below; found where the whole interval is above."""
    numbers = f"right in a share of {{{metric}:value}} of {{{metric}:n}} sums [{{{metric}:low}}, {{{metric}:high}}]"
    words = {"embed": "embedding", "resid_mid": "residual stream after attention", "resid_post": "residual stream after the MLP"}
    _, _, site = metric.split(".", 2)
    layer, _, stream = site.rpartition(".")
    where = words[stream] + (f" of layer {{{metric}:layer}}" if layer else "")
    nulls = (
        f"random labels {{{metric}:control}}, at best {{{metric}:control_high}}, untrained models {{{metric}:untrained}}, at best {{{metric}:untrained_high}}"
    )
    start = "A carry" if found else "Tested, not found: training makes a carry"
    middle = "can be read" if found else "no easier to read"
    return Claim(f"{start} {KINDS[kind]} {middle} {PLACES[place]}; best from the {where}: {numbers} ({nulls}, mean to highest).")


def _draw(rows: list[Row]) -> Figure:
    """A panel a kind of carry, a line a place; what control tasks reach, and untrained models."""
    kinds = list(dict.fromkeys(row["carry"] for row in rows))
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(4.2 * len(kinds), 3.4), layout="constrained")
        for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False).flat, kinds, strict=True):
            for colour, place in zip(COLOURS, PLACES, strict=False):
                own = [row for row in rows if (row["carry"], row["place"]) == (kind, place)]
                at, values = np.arange(len(own)), np.array([row["value"] for row in own])
                ends = np.array([[row["value"] - row["low"], row["high"] - row["value"]] for row in own]).clip(0).T
                axes.errorbar(at, values, ends, color=colour, marker="o", markersize=4, capsize=2, label=f"{place}: carry")
                axes.plot(at, [row["control"] for row in own], color=colour, linestyle=(0, (1.5, 1.5)), label=f"{place}: random labels")
                low, high = ([row[f"untrained_{end}"] for row in own] for end in ("low", "high"))
                axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0, label=f"{place}: untrained, 95 %")
            axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
            axes.set_xticks(at, [row["site"].replace(".resid_", "\nresid_") for row in own], fontsize=8)
            axes.set(ylim=(0.35, 1.03), ylabel="sums whose carry the probe tells", title=f"carry {KINDS[kind]}")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
