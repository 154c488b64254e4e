"""Heads that look where the grammar points: from a pronoun to whom it means, from a verb to its subject, from what is negated to the negation.

The truth comes with the fables, so nothing is judged by eye. A score is the share of a query's attention on the right tokens, less
what uniform attention gives them, of what is left to 1 (as a kappa). Three things it is held against: untrained models; the same
heads with every query's distance to its target that of another query, which is all that a head of positions knows; and rivals:
other characters, nouns of the other number, the tokens before the negation. And since looking is not using (Jain & Wallace 2019,
arXiv 1902.10186), each head's output is replaced by its mean, and the loss measured on the very tokens that such queries predict.

A query is the word's last token, as in the literature on heads (Clark et al. 2019, arXiv 1906.04341), and with ".ahead" the token
before the word, where a causal model has to choose it.

Shapes: N stories, M queries, K heads of all layers, T tokens.
"""

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from picollm.analysis import _head_grid, _intervals
from picollm.analysis._drawing import CHART
from picollm.analysis._gold import Looks, looks, permuted, preference, queries, score
from picollm.analysis._nulls import family_wise, untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._stories import Annotated, annotated, without_fables
from picollm.nn.taps import Editor, Recorder

EACH = 16  # stories with an agreement, with a negation, and with two characters of one gender
FEWEST = 8  # queries of a kind
TINY = 1e-9  # nats: the scale of a picture of nothing
KINDS = {
    "antecedent": "from a pronoun to the last mention of whom it means",
    "antecedent.ahead": "from before a pronoun to the last mention of whom it will mean",
    "subject": "from a verb to the noun that it agrees with",
    "subject.ahead": "from before a verb to the noun that it will agree with",
    "negation": "from what is negated to the negation",
}


def ablated(model: Any, stories: Annotated) -> np.ndarray:
    """(K, N, T): by how much the loss on the token after each rises when a head's output is its mean over all stories; 0 behind a story's end."""
    ids = torch.from_numpy(stories.ids).to(model.device)
    recorder = Recorder([f"{layer}.z" for layer in range(model.config.depth)])
    plain = _loss(model, ids, recorder)
    real = torch.arange(ids.shape[1]) < torch.from_numpy(stories.lengths)[:, None]  # (N, T)
    effects = []
    for layer in range(model.config.depth):
        means = recorder[f"{layer}.z"].transpose(1, 2)[real].mean(0)  # (H, V)
        for head, mean in enumerate(means):
            effects.append((_loss(model, ids, Editor({f"{layer}.z": _constant(head, mean)})) - plain).cpu().numpy())
    inside = (np.arange(ids.shape[1]) < stories.lengths[:, None] - 1)[None]
    return np.asarray(np.stack(effects) * inside, np.float64)


def _constant(head: int, mean: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.cat((z[:, :head], mean.expand(len(z), 1, z.shape[2], -1), z[:, head + 1 :]), 1)


@torch.no_grad()
def _loss(model: Any, ids: Tensor, tap: Any) -> Tensor:
    """(N, T) nats on the token after each; the last one has none."""
    logits = model(ids, tap=tap)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
    return F.pad(loss, (0, 1))


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_weights:
        return Skip(subject.without_weights)
    if reason := without_fables(subject):
        return Skip(reason)
    stories = annotated(subject, (_agrees, _negates, _rivals), EACH)
    if stories is None:
        return Skip(f"no story fits into the {subject.model.max_length} tokens that the model takes")
    asked = {kind: [query for story, truth in enumerate(stories.truth) for query in queries(truth, story, kind)] for kind in KINDS}
    asked = {kind: own for kind, own in asked.items() if len(own) >= FEWEST and len({query.story for query in own}) > 1}
    found = looks(subject.model, stories, asked)
    fresh = [_summaries(looks(model, stories, asked)) for model in untrained(subject)]
    effects = ablated(subject.model, stories)
    shape = subject.model.config.depth, subject.model.config.n_head
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims = [Claim(f"{kind}: too few such places in these stories to say anything.") for kind in KINDS if kind not in asked]
    grids: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for kind, own in found.items():
        null = np.array([scores[kind] for scores, _ in fresh])
        shuffled = permuted(own)
        values, losses = score(own).value(), _of_queries(effects, own)
        best = int(values.argmax())
        rivals = np.array([preferred[kind] for _, preferred in fresh])
        metrics |= {f"{kind}.{name}": value for name, value in _best(own, best, shape[1], null, shuffled, rivals, effects).items()}
        grids[kind] = values.reshape(shape), losses.reshape(shape)
        p = {"untrained_p": family_wise(values, null), "permuted_p": family_wise(values, shuffled)}
        for head, value in enumerate(values):
            ends = _over_stories(own.stories, score(own).above[:, head], score(own).room)
            row: Row = {"kind": kind, "layer": head // shape[1], "head": head % shape[1], "value": value, "low": None, "high": None, **ends}
            table.append({**row, "queries": len(own.queries), **{name: every[head] for name, every in p.items()}, "ablation": losses[head]})
        claims += _claims(kind, metrics)
    return Result(metrics, {"": _draw(grids)} if grids else {}, {"": table} if table else {}, claims=claims)


def _agrees(truth: dict[str, Any]) -> bool:
    return any(relation["kind"] == "agreement" for relation in truth["relations"])


def _negates(truth: dict[str, Any]) -> bool:
    return any(relation["kind"] == "negation" and relation["scope"] for relation in truth["relations"])


def _rivals(truth: dict[str, Any]) -> bool:
    """Is there a pronoun that could mean somebody else?"""
    return any(mention["form"] == "pronoun" and mention["antecedent"] is not None and mention["distractors"] for mention in truth["mentions"])


def _summaries(found: Mapping[str, Looks]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Of an untrained model: the score of every head, and what the highest one makes of rivals."""
    scores = {kind: score(own).value() for kind, own in found.items()}
    preferred = {}
    for kind, own in found.items():
        target, both, _ = preference(own, int(scores[kind].argmax()))
        preferred[kind] = float(target.sum() / max(both.sum(), np.finfo(float).tiny))
    return scores, preferred


def _best(own: Looks, best: int, n_head: int, null: np.ndarray, shuffled: np.ndarray, rivals: np.ndarray, effects: np.ndarray) -> dict[str, Estimate]:
    """The highest head: its score, its choice among rivals, and what it is good for."""
    place = {"layer": best // n_head, "head": best % n_head}
    n = len(np.unique(own.stories))
    found, nulls = score(own), {"untrained": null.max(1), "permuted": shuffled.max(1)}
    ends = _over_stories(own.stories, found.above[:, best], found.room)
    result = {"score": estimate(found.value()[best], n, nulls, **ends, queries=len(own.queries), **place)}
    target, both, stories = preference(own, best)
    if both.sum() and len(np.unique(stories)) > 1:
        ends = _over_stories(stories, target, both)
        result["preference"] = estimate(target.sum() / both.sum(), len(np.unique(stories)), {"untrained": rivals}, **ends, queries=len(target), **place)
    losses = _of_queries(effects, own)
    rows = effects[best, own.stories, own.tokens]
    nulls = {"elsewhere": _elsewhere(effects[best], own)}
    if len(losses) > 1:
        nulls["other_heads"] = np.delete(losses, best)
    result["ablation"] = estimate(losses[best], n, nulls, **_over_stories(own.stories, rows, np.ones(len(rows))), **place)
    return result


def _of_queries(effects: np.ndarray, own: Looks) -> np.ndarray:
    """(K, N, T) -> (K,): the mean over the queries' tokens."""
    return np.asarray(effects[:, own.stories, own.tokens].mean(1))


def _elsewhere(effect: np.ndarray, own: Looks) -> np.ndarray:
    """(N, T) -> the mean of each story over its tokens that are no queries."""
    other = effect != 0  # a story's end and what is behind it aside, no loss stays as it was to the last bit
    other[own.stories, own.tokens] = False
    return np.array([row[mask].mean() for row, mask in zip(effect, other, strict=True) if mask.any()] or [0.0])


def _over_stories(stories: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> dict[str, float]:
    """The interval of sum(top) / sum(bottom), both (M,), over the stories that they are of."""
    own = np.unique(stories)
    return _intervals.of_ratio(*(np.bincount(stories, values, own.max() + 1)[own] for values in (top, bottom)))


def _claims(kind: str, metrics: Mapping[str, Estimate]) -> list[Claim]:
    at, lost = f"{kind}.score", f"{kind}.ablation"
    head = metrics[at]
    what = f"{KINDS[kind]}: head {{{at}:head}} of layer {{{at}:layer}} scores highest, {{{at}:value}}"
    nulls = f"the highest of untrained models {{{at}:untrained_high}}, by its distances alone {{{at}:permuted_high}}"
    if head["low"] <= 0 or head["value"] <= max(head["untrained_high"], head["permuted_high"]):
        return [Claim(f"{what}; {nulls}: a head that looks there was tested for and not found.")]
    effect = metrics[lost]
    used = effect["low"] > 0 and effect["value"] > effect["elsewhere_high"]
    return [
        Claim(f"{what}; {nulls}."),
        Claim(
            f"{KINDS[kind]}: without that head the tokens so predicted cost {{{lost}:value}} nats more, others at most {{{lost}:elsewhere_high}}"
            f"{'' if used else ': that it serves this was tested and not found'}."
        ),
    ]


def _draw(grids: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Above the scores, below what each head's output is worth at such places."""
    L, H = next(iter(grids.values()))[0].shape
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(max(1.9, 0.45 * H + 0.5) * len(grids) + 1.0, max(1.6, 0.3 * L + 0.7) * 2 + 0.4), layout="constrained")
        panels = figure.subplots(2, len(grids), squeeze=False)
        largest = max(float(np.abs(losses).max()) for _, losses in grids.values())
        for column, (kind, (scores, losses)) in enumerate(grids.items()):
            _head_grid.draw(panels[0, column], scores, kind, 1.0)
            _head_grid.draw(panels[1, column], losses, "nats without it", max(largest, TINY))
        for axes in panels[:, 1:].flat:
            axes.set_ylabel("")
        for axes in panels[0]:
            axes.set_xlabel("")
    return figure
