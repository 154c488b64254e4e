"""How a model lays out its vocabulary: principal components of the token embeddings, a number line, periods.

A line or a period is a number here: the rank correlation of a component with the value, that of all distances with all
differences (Mantel 1967), and the share of one frequency in the Fourier power over the values (as in Nanda et al. 2023, arXiv
2301.05217), each against shuffled values and untrained models. In a text, how often a token occurs takes the place of its value.

Shapes: N tokens, D model width.
"""

from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from picollm.analysis import _bootstrap, _probes, _spectrum, _verdicts
from picollm.analysis._drawing import CHART, label
from picollm.analysis._embeddings import COMPONENTS, Distances, embeddings, on_a_line, ordered, principal_components, shuffled_line
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Skip, Subject, estimate
from picollm.report.figures import COLOURS, INK

SHOWN = 10  # components whose share is drawn
DRAWN, NAMED = 1500, 40  # tokens of a text, the most frequent ones: as points and rows of the table, and with their spelling


def analyse(subject: Subject) -> Result | Skip:
    if not isinstance(getattr(subject.model, "embed", None), nn.Embedding):
        return Skip(f"{subject.model.config.kind} has no table of token embeddings")
    tokens = ordered(subject)
    if tokens is None:
        return Skip("the ids of this task are names, not numbers")
    ids, order = tokens
    names = _probes.spellings(subject, ids[:DRAWN]) if subject.is_text else [str(value) for value in ids[:DRAWN]]
    axis, meaning = ("frequency", "occurrences in the training text (log10)") if subject.is_text else ("number", "value")
    x = embeddings(subject.model, ids)
    scores, shares = principal_components(x)
    fresh = [embeddings(model, ids) for model in untrained(subject)]
    metrics = _laid_out(x, order, fresh, axis)
    table = [
        {"id": int(token), "token": name, **{f"pc{c + 1}": score for c, score in enumerate(row)}}
        for token, name, row in zip(ids[:DRAWN], names, scores[:DRAWN, :COMPONENTS], strict=True)
    ]
    what = "values" if axis == "number" else "how often tokens occur"
    lines = {
        f"{axis}_line": f"The rank correlation of {what} with a component of the embeddings",
        "mantel": f"The correlation of distances between embeddings with {what}",
    }
    claims = [_verdicts.against(sentence, name, metrics[name], "shuffled", "shuffled tokens") for name, sentence in lines.items()]
    if subject.is_text:
        return Result(metrics, {"": _draw(scores, shares, order, names, meaning, None)}, {"": table}, claims=claims)
    metrics["period"], power, threshold = period(x, fresh)
    figure = _draw(scores, shares, order, names, meaning, (power, threshold))
    spectrum = [{"frequency": k, "share": share} for k, share in enumerate(power, 1)]
    claims.append(_claim(metrics["period"]))
    return Result(metrics, {"": figure}, {"": table, "spectrum": spectrum}, claims=claims)


def _laid_out(x: np.ndarray, order: np.ndarray, fresh: list[np.ndarray], axis: str) -> dict[str, Estimate]:
    """What two components explain, and whether tokens lie in the order of `order`, by a component and by their distances."""
    scores, shares = principal_components(x)
    others = [principal_components(other) for other in fresh]
    parts = (scores**2).sum(1)
    explained = np.array([of[:2].sum() for _, of in others])
    best, value, ends = on_a_line(scores, order)
    nulls = {"shuffled": shuffled_line(scores, order), "untrained": np.array([on_a_line(other, order)[1] for other, _ in others])}
    distances = Distances(x, order)
    apart = {"shuffled": distances.shuffled(), "untrained": np.array([Distances(other, order).correlation() for other in fresh])}
    return {
        "explained_by_two": estimate(shares[:2].sum(), len(x), {"untrained": explained}, **_bootstrap.ratio((scores[:, :2] ** 2).sum(1), parts)),
        f"{axis}_line": estimate(value, len(x), nulls, **ends, component=best + 1),
        "mantel": estimate(distances.correlation(), distances.n, apart, **distances.interval()),
    }


def period(x: np.ndarray, fresh: list[np.ndarray]) -> tuple[Estimate, np.ndarray, float]:
    """The strongest frequency over the values: x (N, D) -> its share, all shares (N // 2,) from one turn upwards, and the height that
    the highest share of shuffled values stays below in 95 % of cases."""
    frequency, share, ends = _spectrum.strongest(x)
    null = _spectrum.shuffled_power(x).max(1)
    nulls = {"shuffled": null, **({"untrained": np.array([_spectrum.power(other).max() for other in fresh])} if fresh else {})}
    result = estimate(share, len(x), nulls, **ends, frequency=frequency, period=len(x) / frequency)
    return result, _spectrum.power(x), float(np.quantile(null, 0.95))


def _claim(found: Estimate) -> Claim:
    sentence = "The largest share of the embeddings' variance at one frequency, with a period of {period:period} values,"
    return _verdicts.against(sentence, "period", found, "shuffled", "shuffled values")


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
