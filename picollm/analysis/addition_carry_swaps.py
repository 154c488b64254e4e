"""Which activations carry the carry: swapped between two sums that differ in one carry alone, does the answer's digit follow?

An interchange intervention (Geiger et al. 2021, arXiv 2106.02997; of addition: Quirke & Barez 2023, arXiv 2310.13121). The two sums of a pair
(see _sums.py) have the same digits in the column that is asked for and the same written below it. One value of the one sum's pass is
replaced by that of the other's. The answer follows where it becomes the digit that the other carry gives. Two controls: the value of a
sum with the same carry from other digits, which should change nothing; and values at other positions than the one that answers.
A pair counts as followed only if the model is right on both of its sums unedited, so an untrained model has next to none.

Shapes: N pairs, T tokens, D model width, H heads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from picollm.analysis import _sums
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._sums import KINDS, Pairs, Sums
from picollm.core.statistics import proportion
from picollm.nn.taps import Editor, Recorder
from picollm.report.figures import COLOURS, INK

EACH = 80  # pairs of a column
SEED = 13
PLACES = {
    "asking": "where the digit is asked for",
    "below": "at the last operand's digit of the column below",
    "deciding": "at the last operand's digit of the column that decides",
    "first": "at the first operand's digit of the column that decides",
    "start": "at the first token",
}
STREAM = ("resid_mid", "resid_post")
ADDED = ("attn_out", "mlp_post")  # what is added to the stream: of interest where the digit is asked for


@dataclass(frozen=True)
class Part:
    """One value of a pass: at a place, of a site, one head of it where the site is z."""

    place: str
    layer: int
    site: str
    head: int | None = None

    @property
    def name(self) -> str:
        return f"{self.place}.{self.layer}.{self.site if self.head is None else f'head{self.head}'}"


@dataclass(frozen=True, eq=False)
class Swapped:
    """(N,) bool each."""

    followed: np.ndarray  # right on both sums, and the other's digit after the swap with it
    disturbed: np.ndarray  # right on both sums, and another digit after the swap with the twin


def analyse(subject: Subject) -> Result | Skip:
    config = _sums.task(subject)
    if isinstance(config, Skip):
        return config
    kinds = _sums.carried(config, EACH, SEED)
    if isinstance(kinds, Skip):
        return kinds
    fresh = [{name: swaps(model, pairs) for name, pairs in kinds.items()} for model in untrained(subject)]
    metrics, rows, claims = dict[str, Estimate](), list[Row](), []
    for name, pairs in kinds.items():
        n = len(pairs.column)
        found = swaps(subject.model, pairs)
        for part, swapped in found.items():
            rate, other = proportion(int(swapped.followed.sum()), n), proportion(int(swapped.disturbed.sum()), n)
            null = np.array([model[name][part].followed.mean() for model in fresh])
            controls = {"same_carry": swapped.disturbed.mean(), "same_carry_low": other["low"], "same_carry_high": other["high"]}
            facts = {"low": rate["low"], "high": rate["high"], "layer": part.layer, **({} if part.head is None else {"head": part.head}), **controls}
            metrics[f"{name}.{part.name}"] = estimate(swapped.followed.mean(), n, {"untrained": null}, **facts)
            what = "head" if part.head is not None else part.site
            row = {"carry": name, "place": part.place, "layer": part.layer, "site": what, "head": part.head, "followed": swapped.followed.mean(), "n": n}
            rows.append(row | {"low": rate["low"], "high": rate["high"], **controls, "untrained_high": null.max()})
        claims += _claims(name, list(found), metrics)
    return Result(metrics, {"": _draw(rows)}, {"": rows}, claims=claims)


def positions(pairs: Pairs) -> dict[str, np.ndarray]:
    """{place: (N,)}; without the column below where it is the one that decides."""
    deciding, below = (np.asarray(pairs.one.operand(1, column)) for column in (pairs.deciding, pairs.column - 1))
    between = {} if np.array_equal(deciding, below) else {"below": below}
    return {"asking": pairs.ask, **between, "deciding": deciding, "first": np.asarray(pairs.one.operand(0, pairs.deciding)), "start": np.zeros_like(below)}


def parts(model: Any, places: Iterable[str]) -> list[Part]:
    """Where the digit is asked for all that a layer makes; elsewhere the stream alone."""
    found = []
    for layer in range(model.config.depth):
        found += [Part("asking", layer, site) for site in (*STREAM, *ADDED)]
        if model.config.attention != "convolution":
            found += [Part("asking", layer, "z", head) for head in range(model.config.n_head)]
        found += [Part(place, layer, site) for place in places if place != "asking" for site in STREAM]
    return found


def swaps(model: Any, pairs: Pairs) -> dict[Part, Swapped]:
    """Every part of the model, one at a time."""
    told = [_sums.said(model, of)[np.arange(len(pairs.column)), pairs.column] == pairs.digit(of) for of in (pairs.one, pairs.other)]
    both, none = np.flatnonzero(told[0] & told[1]), np.zeros(len(pairs.column), bool)
    every = parts(model, positions(pairs))
    if not len(both):
        return {part: Swapped(none, none) for part in every}
    some = _subset(pairs, both)
    at, sites = positions(some), {f"{part.layer}.{part.site}" for part in every}
    other, twin = Recorder(sites), Recorder(sites)
    _sums.logits(model, some.other.ids, other)
    _sums.logits(model, some.twin.ids, twin)
    result = {}
    for part in every:
        answers = [_answer(model, some, part, at[part.place], recorder) for recorder in (other, twin)]
        followed, disturbed = none.copy(), none.copy()
        followed[both] = answers[0] == some.digit(some.other)
        disturbed[both] = answers[1] != some.digit(some.one)
        result[part] = Swapped(followed, disturbed)
    return result


def _answer(model: Any, pairs: Pairs, part: Part, at: np.ndarray, source: Recorder) -> np.ndarray:
    """(N,): what is said of the column when the part's value at `at` (N,) comes from another pass."""
    site, rows, place = f"{part.layer}.{part.site}", torch.arange(len(at)), torch.from_numpy(at)
    index = (rows, place) if part.head is None else (rows, part.head, place)

    def edit(value: Tensor) -> Tensor:
        edited = value.clone()
        edited[index] = source[site][index]
        return edited

    return _sums.said(model, pairs.one, Editor({site: edit}))[np.arange(len(at)), pairs.column]


def _subset(pairs: Pairs, some: np.ndarray) -> Pairs:
    def of(whole: Sums) -> Sums:
        return Sums(whole.config, *(array[some] for array in (whole.digits, whole.ids, whole.asks, whole.answer, whole.carries)))

    return Pairs(of(pairs.one), of(pairs.other), of(pairs.twin), pairs.column[some], pairs.deciding[some])


def _claims(kind: str, found: list[Part], metrics: dict[str, Estimate]) -> list[Claim]:
    """Of the stream after each layer's attention where the digit is asked for; of the head, and of the place elsewhere, that is followed most."""
    claims = []
    for part in found:
        if (part.place, part.site) == ("asking", "resid_mid"):
            m = f"{kind}.{part.name}"
            what = f"the residual stream after attention of layer {{{m}:layer}}, {PLACES['asking']}, takes the answer's digit along"
            claims.append(Claim(f"A carry {KINDS[kind]}: swapped alone, {what} {_numbers(m)}."))
    for what, group in (("single head", [p for p in found if p.head is not None]), ("single other position", [p for p in found if p.place != "asking"])):
        if group:
            best = max(group, key=lambda part: metrics[f"{kind}.{part.name}"]["value"])
            m = f"{kind}.{best.name}"
            whose = f"head {{{m}:head}}" if best.head is not None else f"the residual stream {PLACES[best.place]}"
            if metrics[m]["value"] > metrics[m]["untrained_high"]:
                claims.append(Claim(f"A carry {KINDS[kind]}: of any {what}, {whose}, layer {{{m}:layer}}, takes the digit along most often, {_numbers(m)}."))
            else:
                claims.append(Claim(f"Tested, not found: a {what} that takes a carry {KINDS[kind]} along; the most is {_numbers(m)}."))
    return claims


def _numbers(m: str) -> str:
    rate = f"in a share of {{{m}:value}} of {{{m}:n}} pairs [{{{m}:low}}, {{{m}:high}}]"
    return f"{rate} (with the same carry the digit changes in {{{m}:same_carry}}, in untrained models at most {{{m}:untrained_high}} follow)"


def _draw(rows: list[Row]) -> Figure:
    """A panel a kind of carry, a bar a part of the model, with the control of the same carry."""
    kinds = {kind: [row for row in rows if row["carry"] == kind] for kind in KINDS}
    kinds = {kind: own for kind, own in kinds.items() if own}
    colours = dict(zip(PLACES, COLOURS, strict=False))
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(4.0 * len(kinds), 1.2 + 0.19 * max(map(len, kinds.values()))), layout="constrained")
        for axes, (kind, own) in zip(figure.subplots(1, len(kinds), squeeze=False).flat, kinds.items(), strict=True):
            at, values = np.arange(len(own)), np.array([row["followed"] for row in own])
            ends = np.array([[row["followed"] - row["low"], row["high"] - row["followed"]] for row in own]).clip(0).T
            axes.barh(at, values, 0.7, color=[colours[row["place"]] for row in own])
            axes.errorbar(values, at, xerr=ends, fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.5)
            axes.plot([row["same_carry"] for row in own], at, "|", color=INK, markersize=7)
            names = [f"{row['place']}: {row['layer']} {row['site'] if row['head'] is None else 'head ' + str(row['head'])}" for row in own]
            axes.set_yticks(at, names, fontsize=7)
            axes.set(xlim=(-0.02, 1.05), ylim=(len(own) - 0.4, -0.6))
            axes.set_title(f"carry {KINDS[kind]}", fontsize=9)
        figure.supxlabel("bar: pairs whose digit follows the swapped carry; stroke: digit changed by a swap with the same carry", fontsize=8)
    return figure
