"""How a model lays out its vocabulary: principal components of the token embeddings, a number line, periods.

A line or a period is a number here: the rank correlation of a component with the value, and the share of one frequency
in the Fourier power over the values (as in Nanda et al. 2023, arXiv 2301.05217), each against shuffled values. In a
text, how often a token occurs takes the place of its value.

Shapes: N tokens, D model width.
"""

from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from picollm.analysis import _probes
from picollm.analysis._drawing import CHART, label
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._ranks import standard_ranks
from picollm.analysis._result import Estimate, Result, Skip, Subject, estimate
from picollm.analysis._spectrum import period
from picollm.models import Model
from picollm.report.figures import COLOURS, INK

NUMBERS = ("numeric", "urn")  # tasks whose ids are the values that they stand for
COMPONENTS = 3  # where a line is looked for: in texts the first component is often something else
SHOWN = 10  # components whose share is drawn
DRAWN, NAMED = 1500, 40  # tokens of a text, the most frequent ones: as points and rows of the table, and with their spelling


def analyse(subject: Subject) -> Result | Skip:
    if not isinstance(getattr(subject.model, "embed", None), nn.Embedding):
        return Skip(f"{subject.model.config.kind} has no table of token embeddings")
    if not subject.is_text and subject.tokens.header["kind"] not in NUMBERS:
        return Skip("the ids of this task are names, not numbers")
    if subject.is_text:
        counts = _probes.token_counts(subject)
        ids = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]  # tokens that never occur still have their random first weights
        order, names = np.log10(counts[ids]), _probes.spellings(subject, ids[:DRAWN])
        axis, meaning = "frequency", "occurrences in the training text (log10)"
    else:
        pad = subject.tokens.header["tokenizer"]["pad"]
        ids = np.array([token for token in range(subject.model.vocab_size) if token != pad])
        order, names = ids.astype(np.float64), [str(value) for value in ids[:DRAWN]]
        axis, meaning = "number", "value"

    x = _embeddings(subject.model, ids)
    scores, shares = principal_components(x)
    fresh = np.array([principal_components(_embeddings(model, ids))[1][:2].sum() for model in untrained(subject)])
    metrics = {"explained_by_two": estimate(shares[:2].sum(), len(ids), {"untrained": fresh}), f"{axis}_line": line(scores, order)}
    table = [
        {"id": int(token), "token": name, **{f"pc{c + 1}": score for c, score in enumerate(row)}}
        for token, name, row in zip(ids[:DRAWN], names, scores[:DRAWN, :COMPONENTS], strict=True)
    ]
    if subject.is_text:
        figure = _draw(scores, shares, order, names, meaning, None)
        return Result(metrics, {"": figure}, {"": table})
    metrics["period"], power, threshold = period(x)
    figure = _draw(scores, shares, order, names, meaning, (power, threshold))
    spectrum = [{"frequency": k, "share": share} for k, share in enumerate(power, 1)]
    return Result(metrics, {"": figure}, {"": table, "spectrum": spectrum})


def _embeddings(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, D), in double precision."""
    assert isinstance(model.embed, nn.Embedding)
    return np.asarray(model.embed.weight.detach().cpu().numpy()[ids], np.float64)


def principal_components(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> the scores (N, D) and the share of variance (D,) of each component, largest first."""
    x = x - x.mean(0)
    _, variance, axes = np.linalg.svd(x.T @ x, hermitian=True)  # of the (D, D) scatter: a vocabulary may have 50,000 rows
    sign = np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(1)] < 0, -1, 1)  # else the sign were the library's mood
    return x @ (axes * sign[:, None]).T, variance / max(variance.sum(), np.finfo(float).tiny)


def line(scores: np.ndarray, order: np.ndarray) -> Estimate:
    """How well one of the first components follows `order` (N,): the largest absolute rank correlation; the shuffled null chooses its best one too."""
    n = len(order)
    components = np.stack([standard_ranks(column) for column in scores[:, :COMPONENTS].T])
    ranks = standard_ranks(order)
    found = np.abs(components @ ranks) / n
    null = np.array([np.abs(components @ ranks[shuffle]).max() / n for shuffle in permutations(n, seed=1)])
    return estimate(found.max(), n, {"shuffled": null}, component=int(found.argmax()) + 1)


def _draw(scores: np.ndarray, shares: np.ndarray, order: np.ndarray, names: list[str], meaning: str, spectrum: tuple[np.ndarray, float] | None) -> Figure:
    """Scatter of the first two components; beside it the share of each component and, for numbers, of each frequency."""
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(9.2, 5.0), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1))
        axes = figure.add_subplot(grid[:, 0])
        points = axes.scatter(scores[:DRAWN, 0], scores[:DRAWN, 1], c=order[:DRAWN], cmap="viridis", s=16 if spectrum else 7, linewidths=0)
        for index in _apart(scores[:DRAWN, :2], [*range(0, len(names), 10), len(names) - 1] if spectrum else range(len(names)))[:NAMED]:
            axes.annotate(label(names[index]), (scores[index, 0], scores[index, 1]), xytext=(3, 3), textcoords="offset points", fontsize=7.5)
        figure.colorbar(points, ax=axes, label=meaning, pad=0.01)
        axes.set(title="token embeddings", xlabel=f"component 1 ({shares[0]:.1%} of the variance)", ylabel=f"component 2 ({shares[1]:.1%})")

        axes = figure.add_subplot(grid[0, 1] if spectrum else grid[:, 1])
        top = shares[:SHOWN]
        axes.bar(range(1, len(top) + 1), top, color=COLOURS[0])
        axes.set(title="variance by component", xlabel="component", ylabel="share", xticks=range(1, len(top) + 1))
        if spectrum:
            power, threshold = spectrum
            axes = figure.add_subplot(grid[1, 1])
            axes.bar(range(1, len(power) + 1), power, color=COLOURS[1], width=0.9)
            axes.axhline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="95 % of shuffled values stay below")
            axes.set(title="Fourier power over the values", xlabel=f"turns in {len(order)} values", ylabel="share")
            axes.set_ylim(0, 1.25 * max(power.max(), threshold))
            axes.legend(fontsize=7.5, loc="upper right")
    return figure


def _apart(points: np.ndarray, candidates: Iterable[int]) -> list[int]:
    """Those candidates whose labels do not lie on an earlier one's. points: (N, 2)."""
    place = (points - points.min(0)) / np.maximum(np.ptp(points, 0), np.finfo(float).tiny)
    kept: list[int] = []
    for index in candidates:
        x, y = np.abs(place[kept] - place[index]).T
        if not np.any((x < 0.07) & (y < 0.03)):
            kept.append(index)
    return kept
