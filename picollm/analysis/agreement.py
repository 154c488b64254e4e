"""What the seeds of a run have in common: do their layers hold the same, and has every head of one its like in the other?

Layers are compared by debiased CKA, see `_cka.py`; heads by the distance between their attention, each with a partner in
the other model, the best for all together (linear_sum_assignment). Partners are found on half of the sequences and judged on
the others: the best of many is good on what it was chosen by.

Shapes: S other seeds, L layers (of CKA with the embedding), N sequences, A heads of a model, T tokens.
"""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from picollm.analysis import _bootstrap, _cka, _heads, _inputs, _verdicts
from picollm.analysis._attention import measures, shares
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._ranks import correlation
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.models import Model
from picollm.report.figures import COLOURS, INK
from picollm.training.checkpoints import load_model

PER_FAMILY = 40  # sequences, for CKA
HEADS = 32  # sequences, for heads
FEWEST = 8  # sequences
SEED = 9


@dataclass(frozen=True, eq=False)
class Matched:
    """The heads of one model and their partners in another."""

    partner: np.ndarray  # (A,)
    apart: np.ndarray  # (N judged, A, A): all distances, of sequences that partners were not chosen by
    measures: dict[str, tuple[np.ndarray, np.ndarray]]  # of the heads (A,), and of their partners

    @property
    def alike(self) -> np.ndarray:
        """(N,): 1 less the mean distance from the partner."""
        return np.asarray(1 - self.apart[:, np.arange(len(self.partner)), self.partner].mean(1))


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if not subject.others:
        return Skip("the run has one seed: there is no other to agree with")
    ids = _inputs.mixed(subject, PER_FAMILY)
    if len(ids) < FEWEST:
        return Skip(f"needs {FEWEST} different sequences, there are {len(ids)}")
    others = [load_model(folder).to(subject.model.device) for folder in subject.others]
    metrics, table, pairs = _layers(subject, others, ids)
    panels = 2
    matched: list[Matched] = []
    if subject.model.config.attention != "convolution":
        few = ids[np.linspace(0, len(ids) - 1, min(HEADS, len(ids))).astype(int)]
        matched = [match(subject.model, model, few) for model in others]
        metrics |= _heads_of(matched, [match(subject.model, model, few) for model in untrained(subject)])
        panels = 3
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(3.4 * panels + 0.4, 3.5), layout="constrained")
        axes = figure.subplots(1, panels)
        _draw_cka(figure, list(axes[:2]), *pairs)
        if matched:
            _draw_heads(axes[2], matched, subject.model.config.depth)
    return Result(metrics, {"": figure}, {"": table}, claims=_claims(metrics))


def _layers(subject: Subject, others: list[Model], ids: np.ndarray) -> tuple[dict[str, Estimate], list[Row], tuple[np.ndarray, np.ndarray]]:
    own = _cka.grams(subject.model, ids)
    grams = [_cka.grams(model, ids) for model in others]
    fresh = np.stack([_cka.alike(own, _cka.grams(model, ids)) for model in untrained(subject)])  # (models, L, L)
    chance = np.mean([_cka.permuted(own, other) for other in grams], axis=0)  # (SHUFFLES, L, L)

    def over(rows: np.ndarray) -> np.ndarray:
        """(L, L): the mean over the other seeds, of some of the sequences."""
        return np.mean([_cka.alike(own[:, rows[:, None], rows], other[:, rows[:, None], rows]) for other in grams], axis=0)

    found = over(np.arange(len(ids)))
    names = ["embed", *map(str, range(len(own) - 1))]
    ends = _bootstrap.jackknives(lambda rows: scores(over(rows)), len(ids))
    every = [*(f"cka.{name}" for name in names), "cka.same_layer"]
    columns = zip(every, scores(found), scores(chance).T, scores(fresh).T, ends, strict=True)
    metrics = {
        name: estimate(value, len(ids), {"permuted": by_chance, "untrained": untrained}, **interval, seeds=len(others))
        for name, value, by_chance, untrained, interval in columns
    }
    table = [
        {"layer": a, "layer_of_others": b, "cka": found[i, j], "untrained": fresh[:, i, j].mean(), "permuted": chance[:, i, j].mean()}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]
    return metrics, table, (found, fresh.mean(0))


def scores(pairs: np.ndarray) -> np.ndarray:
    """(..., L, L) -> (..., L + 1): CKA of each layer with its like, and how much more that is on average than with other layers."""
    layers = pairs.shape[-1]
    like = np.diagonal(pairs, 0, -2, -1)
    apart = (pairs.sum((-2, -1)) - like.sum(-1)) / (layers * (layers - 1))
    return np.concatenate((like, (like.mean(-1) - apart)[..., None]), -1)


def match(model: Model, other: Model, ids: np.ndarray) -> Matched:
    """Every head of `model` and its partner in `other`."""
    both = [shares(one, ids) for one in (model, other)]
    a, b = (_heads.flat(matrices) for matrices in both)
    apart = _heads.distances(a, b)
    _, partner = linear_sum_assignment(apart[::2].mean(0))
    found = [{name: values.mean(0) for name, values in measures(heads[1::2]).items()} for heads in (a, b)]
    return Matched(partner, apart[1::2], {name: (found[0][name], found[1][name][partner]) for name in found[0]})


def _heads_of(matched: list[Matched], fresh: list[Matched]) -> dict[str, Estimate]:
    """How alike partners are, and whether the heads that score high in one model have partners that do in the other."""
    heads = len(matched[0].partner)
    every = np.arange(heads)
    alike = np.mean([pair.alike for pair in matched], axis=0)
    orders = list(permutations(heads, SEED))
    by_chance = np.array([np.mean([1 - pair.apart[:, every, order].mean() for pair in matched]) for order in orders])
    nulls = {"dealt": by_chance, "untrained": np.array([pair.alike.mean() for pair in fresh])}
    metrics = {"heads.alike": estimate(alike.mean(), len(alike), nulls, **_bootstrap.ratio(alike), seeds=len(matched))}
    if heads < FEWEST:
        return metrics  # of fewer a rank correlation says nothing
    for name in matched[0].measures:
        metrics[f"heads.{name}"] = _scores_of(name, matched, fresh, orders)
    return metrics


def _scores_of(name: str, matched: list[Matched], fresh: list[Matched], orders: list[np.ndarray]) -> Estimate:
    """The rank correlation of one measure of heads with that of their partners."""
    own, partners = (np.concatenate([pair.measures[name][side] for pair in matched]) for side in (0, 1))
    dealt = [correlation(own, np.concatenate([pair.measures[name][1][order] for pair in matched])) for order in orders]
    nulls = {"dealt": np.array(dealt), "untrained": np.array([correlation(*pair.measures[name]) for pair in fresh])}
    interval = _bootstrap.statistic(lambda rows: correlation(own[rows], partners[rows]), len(own))
    return estimate(correlation(own, partners), len(own), nulls, **interval, seeds=len(matched))


def _claims(metrics: dict[str, Estimate]) -> list[Claim]:
    last = [name for name in metrics if name.startswith("cka.")][-2]
    claims = [_verdicts.against("CKA of the last layer with that of the run's other seeds", last, metrics[last], "untrained", "untrained models")]
    if "heads.alike" in metrics:
        sentence = "The likeness of a head to its partner in another seed"
        claims.append(_verdicts.against(sentence, "heads.alike", metrics["heads.alike"], "dealt", "partners dealt out at random"))
    return claims


def _draw_cka(figure: Figure, panels: list[Axes], found: np.ndarray, fresh: np.ndarray) -> None:
    names = ["embed", *map(str, range(len(found) - 1))]
    for axes, matrix, title in zip(panels, (found, fresh), ("other seeds", "untrained models"), strict=True):
        image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        for (y, x), value in np.ndenumerate(matrix):
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color="black" if value > 0.6 else "white")
        axes.set(title=f"CKA with {title}", xlabel=f"layer of {title}", ylabel="layer of this model")
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
    figure.colorbar(image, ax=panels, fraction=0.03, pad=0.02).outline.set_visible(False)


def _draw_heads(axes: Axes, matched: list[Matched], depth: int) -> None:
    """How alike every head and its partner are, beside any other head."""
    heads = len(matched[0].partner)
    for head in range(heads):
        every = np.concatenate([1 - pair.apart[:, head].mean(0) for pair in matched])
        axes.plot([head, head], [every.min(), every.max()], color="#c8cdd3", linewidth=5, label="any head" if head == 0 else None)
    for number, pair in enumerate(matched):
        value = 1 - pair.apart[:, np.arange(heads), pair.partner].mean(0)
        axes.plot(range(heads), value, "o", markersize=4, color=COLOURS[0], label="partner" if number == 0 else None)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_xticks(range(heads), _heads.names(depth, heads // depth), rotation=90, fontsize=7)
    axes.set(title="heads and their partners", xlabel="layer.head of this model", ylabel="1 - Jensen-Shannon distance")
    axes.legend(fontsize=7.5, loc="upper right")
