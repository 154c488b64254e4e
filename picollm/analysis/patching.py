"""Where the answer is decided: values from one run put into another that differs in what the answer rests on (activation patching).

The share that a patch brings back is of the difference between two logits, the right answer's and that of the other input
(Zhang & Nanda 2024, arXiv 2309.16042: probabilities saturate, and noise in place of a counterfactual leaves the data's ground):
0 is nothing, 1 all of it. Patched are the residual stream, at one class of tokens after one block, and the output of one head at
all tokens. Nulls: the same from a pair with another answer, which says what any foreign value does, and untrained models, in
which too the last token's stream brings back everything after the last block. Where a model does not tell the two inputs apart
there is nothing to bring back, and the shares say nothing.

Shapes: N pairs, T tokens, K patches, L layers, H heads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from picollm.analysis import _head_grid, _intervals, _probes
from picollm.analysis._counterfactuals import Pairs, of_fables, of_numbers
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._stories import without_fables
from picollm.nn.taps import Editor, Recorder

FEWEST = 4  # pairs of a kind
FRESH = 200  # tokens of a kind's pairs that untrained models are patched with
Patch = tuple[str, str]  # a site, "embed" or a layer, and what is patched there: a class of tokens, or "head 0"


@dataclass(frozen=True, eq=False)
class Patched:
    """What every patch does to the difference of the two answers' logits."""

    patches: list[Patch]
    moved: np.ndarray  # (K, N): towards the clean run, in logits
    apart: np.ndarray  # (N,): how much the clean run prefers its answer more than the corrupted run does

    def share(self, rows: np.ndarray) -> np.ndarray:
        """(K,): over some of the pairs, a pair weighing as much as its runs are apart."""
        return np.asarray(self.moved[:, rows].sum(1) / max(np.abs(self.apart[rows]).sum(), np.finfo(float).tiny))


class _Runs:
    """A model on the two inputs of each pair, and with values of one run in the other."""

    def __init__(self, model: Any, pairs: Pairs) -> None:
        self.model, self.pairs, self.rows = model, pairs, np.arange(len(pairs.last))
        self.corrupted = torch.from_numpy(pairs.corrupted).to(model.device)
        depth = range(model.config.depth)
        self.sites = {"embed": "embed", **{str(layer): f"{layer}.resid_post" for layer in depth}}
        self.clean = Recorder([*self.sites.values(), *(f"{layer}.z" for layer in depth)])
        self.above = self._difference(torch.from_numpy(pairs.clean).to(model.device), self.clean)
        self.below = self._difference(self.corrupted, None)

    def moved(self, site: str, edit: Callable[[Tensor], Tensor]) -> np.ndarray:
        """(N,)."""
        return (self._difference(self.corrupted, Editor({site: edit})) - self.below) * np.sign(self.above - self.below)

    @torch.no_grad()
    def _difference(self, ids: Tensor, tap: Any) -> np.ndarray:
        """(N,): the right answer's logit less the other's."""
        logits = self.model(ids, tap=tap)[self.rows, self.pairs.last]
        return np.asarray((logits[self.rows, self.pairs.right] - logits[self.rows, self.pairs.wrong]).double().cpu().numpy())


def patched(model: Any, pairs: Pairs, donors: np.ndarray | None = None) -> Patched:
    """Every patch, from each pair's own clean run or from that of the pair `donors` (N,), there counted in tokens back from the last."""
    runs = _Runs(model, pairs)
    rows = runs.rows if donors is None else donors
    places = np.arange(pairs.clean.shape[1]) + (pairs.last[rows] - pairs.last)[:, None]  # (N, T): where a token's value comes from
    places = places.clip(0, pairs.clean.shape[1] - 1)
    found: dict[Patch, np.ndarray] = {}
    for name, site in runs.sites.items():
        given = runs.clean[site][rows[:, None], places]
        for group, mask in pairs.classes.items():
            found[name, group] = runs.moved(site, _tokens(given, torch.tensor(mask, device=given.device)))
    for layer in range(model.config.depth):
        given = runs.clean[f"{layer}.z"].transpose(1, 2)[rows[:, None], places].transpose(1, 2)  # (N, H, T, V)
        for head in range(given.shape[1]):
            found[str(layer), f"head {head}"] = runs.moved(f"{layer}.z", _head(given, head))
    return Patched(list(found), np.array(list(found.values())), runs.above - runs.below)


def _tokens(given: Tensor, mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.where(mask[..., None], given, x)


def _head(given: Tensor, head: int) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.cat((z[:, :head], given[:, head : head + 1], z[:, head + 1 :]), 1)


def analyse(subject: Subject) -> Result | Skip:
    pairs = _pairs(subject)
    if isinstance(pairs, Skip):
        return pairs
    kinds = {kind: np.flatnonzero(pairs.kinds == kind) for kind in dict.fromkeys(pairs.kinds.tolist())}
    kinds = {kind: rows for kind, rows in kinds.items() if len(rows) >= FEWEST}
    if not kinds:
        return Skip(f"fewer than {FEWEST} pairs of a kind, as many tokens long and with one answer each")
    metrics, told = _told_apart(subject, pairs, kinds)
    claims = [claim for kind in kinds for claim in _answers(kind, metrics[f"{kind}.apart"], kind in told)]
    left_out = [{"why": why, "pairs": count} for why, count in pairs.left_out.items()]
    tables: dict[str, Sequence[Row]] = {"left_out": left_out} if left_out else {}
    if not told:
        return Result(metrics, tables=tables, claims=claims)
    pairs = pairs.some(np.concatenate([kinds[kind] for kind in told]))
    own, foreign = patched(subject.model, pairs), patched(subject.model, pairs, pairs.donors)
    few = pairs.some(_first(pairs, max(FEWEST, FRESH // pairs.clean.shape[1])))
    fresh = [patched(model, few) for model in untrained(subject)]
    table: list[Row] = []
    shares: dict[str, dict[Patch, float]] = {}
    for kind in told:
        rows, some = np.flatnonzero(pairs.kinds == kind), np.flatnonzero(few.kinds == kind)
        null = np.array([model.share(some) for model in fresh])  # (models, K)
        found = {patch: _share(own, foreign, rows, k, null[:, k]) for k, patch in enumerate(own.patches)}
        heads = [k for k, (_, part) in enumerate(own.patches) if part.startswith("head")]
        best = max(heads, key=lambda k: own.share(rows)[k])
        layer, head = own.patches[best][0], own.patches[best][1].removeprefix("head ")
        metrics[f"{kind}.highest_head"] = _share(own, foreign, rows, best, null[:, heads].max(1), layer=int(layer), head=int(head))
        metrics |= {f"{kind}.{site}.{part.replace(' ', '_')}": value for (site, part), value in found.items() if not part.startswith("head")}
        columns = ("value", "low", "high", "n", "unrelated", "untrained", "untrained_low", "untrained_high", "untrained_p")
        table += [{"kind": kind, "site": site, "part": part, **{key: value.get(key) for key in columns}} for (site, part), value in found.items()]
        shares[kind] = {patch: value["value"] for patch, value in found.items()}
        claims += _claims(kind, subject.model.config.depth, metrics)
    return Result(metrics, {"": _draw(shares, list(pairs.classes))}, {"": table, **tables}, claims=claims)


def _first(pairs: Pairs, count: int) -> np.ndarray:
    """The first `count` rows of each kind."""
    return np.concatenate([np.flatnonzero(pairs.kinds == kind)[:count] for kind in dict.fromkeys(pairs.kinds.tolist())])


def _told_apart(subject: Subject, pairs: Pairs, kinds: Mapping[str, np.ndarray]) -> tuple[dict[str, Estimate], list[str]]:
    """How far the two inputs are apart, how often both have their own answer preferred; and the kinds where they are apart at all."""
    own, fresh = _Runs(subject.model, pairs), [_Runs(model, pairs) for model in untrained(subject)]
    measures: dict[str, Callable[[_Runs], np.ndarray]] = {
        "apart": lambda runs: runs.above - runs.below,
        "both": lambda runs: ((runs.above > 0) & (runs.below < 0)).astype(np.float64),
    }
    metrics: dict[str, Estimate] = {}
    for kind, rows in kinds.items():
        for name, of in measures.items():
            null = np.array([of(model)[rows].mean() for model in fresh])
            metrics[f"{kind}.{name}"] = estimate(of(own)[rows].mean(), len(rows), {"untrained": null}, **_intervals.of_mean(of(own)[rows]))
    return metrics, [kind for kind in kinds if _differs(metrics[f"{kind}.apart"])]


def _differs(apart: Estimate) -> bool:
    return apart["low"] > max(0, apart["untrained_high"]) or apart["high"] < min(0, apart["untrained_low"])


def _pairs(subject: Subject) -> Pairs | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if subject.model.config.attention == "convolution":
        return Skip("a convolution has no heads to patch")
    if subject.is_text:
        reason = without_fables(subject)
        return Skip(reason) if reason else of_fables(subject)
    return of_numbers(subject) if "arithmetic" in _probes.families(subject) else Skip("neither fables nor arithmetic sequences")


def _share(own: Patched, foreign: Patched, rows: np.ndarray, k: int, null: np.ndarray, **facts: float) -> Estimate:
    ends = _intervals.of_ratio(own.moved[k, rows], np.abs(own.apart[rows]))
    return estimate(own.share(rows)[k], len(rows), {"untrained": null}, **ends, unrelated=float(foreign.share(rows)[k]), **facts)


def _answers(kind: str, apart: Estimate, told: bool) -> list[Claim]:
    what = f"{kind}: both inputs have their own answer preferred in {{{kind}.both:value}} of the pairs; {{{kind}.apart:value}} logits lie between them"
    if not told:
        return [Claim(f"{what}, no more than by chance: there is nothing that a patch could bring back. Tested, not found.")]
    against = ": below zero, so that what decides is another difference between the two, and against the rule" if apart["value"] < 0 else ""
    return [Claim(f"{what}{against}.")]


def _claims(kind: str, depth: int, metrics: dict[str, Estimate]) -> list[Claim]:
    """By which head, and the first block after which the last token has more than half of it."""
    head = f"{kind}.highest_head"
    found = metrics[head]["value"] > metrics[head]["untrained_high"] and metrics[head]["low"] > metrics[head]["unrelated"]
    claims = [
        Claim(
            f"{kind}: head {{{head}:head}} of layer {{{head}:layer}} brings back most, {{{head}:value}} of it; from a pair with another answer "
            f"{{{head}:unrelated}}, the highest head of untrained models {{{head}:untrained_high}}"
            f"{'' if found else ': a head that carries the answer was tested for and not found'}."
        )
    ]
    where = next((layer for layer in range(depth) if metrics[f"{kind}.{layer}.last"]["low"] > 0.5), None)
    if where is not None:
        at = f"{kind}.{where}.last"
        metrics[at]["layer"] = where
        claims.append(Claim(f"{kind}: after layer {{{at}:layer}} the last token holds {{{at}:value}} of it, surely more than half for the first time."))
    return claims


def _draw(shares: dict[str, dict[Patch, float]], groups: Sequence[str]) -> Figure:
    """A row for each kind of pair: tokens by site, and heads."""
    heads = {kind: [value for (_, part), value in own.items() if part.startswith("head")] for kind, own in shares.items()}
    sites = list(dict.fromkeys(site for site, _ in next(iter(shares.values()))))
    L, H = len(sites) - 1, len(next(iter(heads.values()))) // (len(sites) - 1)
    wide = (0.85 * len(groups) + 1.2, max(2.6, 0.5 * H + 1.0))
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(sum(wide) + 0.8, max(2.4, 0.33 * len(sites) + 1.0) * len(shares)), layout="constrained")
        grid = figure.subplots(len(shares), 2, squeeze=False, width_ratios=wide)
        for (left, right), (kind, own) in zip(grid, shares.items(), strict=True):
            stream = np.array([[own[site, group] for group in groups] for site in sites])
            _head_grid.draw(left, stream, f"{kind}: residual stream", 1.0, rows=sites, columns=list(groups))
            left.set(xlabel="tokens", ylabel="after layer")
            image = _head_grid.draw(right, np.array(heads[kind]).reshape(L, H), f"{kind}: heads", 1.0)
        figure.colorbar(image, ax=list(grid[:, 1]), label="share brought back").outline.set_visible(False)
    return figure
