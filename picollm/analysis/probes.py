"""Linear probes: what can be read off the residual stream, layer by layer, beside what the same probe learns by heart.

A probe that finds a label may have found the token it goes with. So every accuracy stands beside that on a control task,
which gives each type of token a label at random (Hewitt & Liang 2019, arXiv 1909.03368); the difference is its
selectivity. Untrained models are the other null: random features let a probe read much. Probes are ridge regressions onto
one-hot labels, fitted on half of the sequences and judged on the others.

That something can be read does not say that the model reads it.

Shapes: M places, D model width, C classes.
"""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picollm.analysis import _bootstrap, _verdicts
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._ridge import Ridge
from picollm.analysis._states import residual_sites, states
from picollm.analysis._target import Target
from picollm.analysis._targets import Readable, readable
from picollm.models import Model
from picollm.report.figures import COLOURS, INK

CONTROLS = 19  # control tasks; fewer could give no p of 0.05
CONTROLS_UNTRAINED = 2  # for each untrained model: their mean over all models is what counts
FEWEST = 20  # places on either side
WHAT = {
    "family": "the sequence's family",
    "next": "the next value",
    "step": "the step",
    "parity": "the parity so far",
    "known": "whether a name is known",
    "gender": "the gender of the next pronoun",
    "carry_in": "the carry into a column",
    "carry_out": "the carry out of a column",
    "digit_sum": "the sum of a column's digits",
}


@dataclass(frozen=True, eq=False)
class Read:
    """What probes of one target make of one site."""

    right: np.ndarray  # (judged,) 0 or 1
    controls: np.ndarray  # (draws, judged)

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def selectivity(self) -> float:
        return float(self.right.mean() - self.controls.mean())


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    found = readable(subject)
    if isinstance(found, Skip):
        return found
    found = Readable(found.ids, {name: target for name, target in found.targets.items() if _enough(target)})
    if not found.targets:
        return Skip(f"needs {FEWEST} places to fit a probe on and as many to judge it by, in labels of two classes or more")
    sites = residual_sites(subject.model, "resid_post")
    own = _read(subject.model, found, sites, CONTROLS)
    fresh = [_read(model, found, sites, CONTROLS_UNTRAINED) for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims: list[Claim] = []
    for name, target in found.targets.items():
        sequence = target.row[~_fitted(target)]
        n = len(np.unique(sequence))
        for site in sites:
            read, null = own[name, site], [model[name, site] for model in fresh]
            nulls = {"control": read.controls.mean(1), "untrained": np.array([one.accuracy for one in null])}
            metrics[f"{name}.accuracy.{site}"] = estimate(read.accuracy, n, nulls, **_share(read.right, sequence))
            metrics[f"{name}.selectivity.{site}"] = _selectivity(read, null, sequence)
            facts = {"target": name, "site": site, "n": n, "places": len(sequence), "classes": len(np.unique(target.label)), "majority": _majority(target)}
            table.append(facts | _columns("accuracy", metrics[f"{name}.accuracy.{site}"]) | _columns("selectivity", metrics[f"{name}.selectivity.{site}"]))
        best = max(range(len(sites)), key=lambda number: own[name, sites[number]].selectivity)
        highest = [max((model[name, site] for site in sites), key=lambda read: read.selectivity) for model in fresh]
        metrics[f"{name}.highest"] = _selectivity(own[name, sites[best]], highest, sequence) | {"depth": best}
        sentence = f"The selectivity of a probe for {WHAT[name]} at depth {{{name}.highest:depth}}, counted from the embedding, where it is highest,"
        claims.append(_verdicts.against(sentence, f"{name}.highest", metrics[f"{name}.highest"], "untrained", "untrained models"))
    return Result(metrics, {"": _draw(metrics, list(found.targets), sites)}, {"": table}, claims=claims)


def _read(model: Model, found: Readable, sites: list[str], draws: int) -> dict[tuple[str, str], Read]:
    """{(target, site): what probes read}."""
    T = found.ids.shape[1]
    places = {name: target.row * T + target.place for name, target in found.targets.items()}
    every = np.unique(np.concatenate(list(places.values())))
    values = states(model, found.ids, every // T, every % T, sites)
    result = {}
    for name, target in found.targets.items():
        at, fitted = np.searchsorted(every, places[name]), _fitted(target)
        labels = [target.label, *(target.control(draw) for draw in range(draws))]
        for site in sites:
            x = values[site][at]
            right = judged(np.concatenate((x[fitted], x[~fitted])), [(label[fitted], label[~fitted]) for label in labels])
            result[name, site] = Read(right[0], right[1:])
    return result


def judged(x: np.ndarray, labels: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """x (fitted + judged, D), of each task the labels of either part -> (tasks, judged): 1 where the probe is right."""
    ridge = Ridge(x, len(labels[0][0]))
    right = []
    for fitted, held in labels:
        classes, place = np.unique(fitted, return_inverse=True)
        coefficients, _ = ridge.fit(np.eye(len(classes), dtype=np.complex128), place)
        right.append(classes[ridge.predict(coefficients).real.argmax(1)] == held)
    return np.array(right, np.float64)


def _fitted(target: Target) -> np.ndarray:
    """(M,): which places belong to sequences that are fitted on, every second one that has any."""
    _, number = np.unique(target.row, return_inverse=True)
    return np.asarray(number % 2 == 0)


def _enough(target: Target) -> bool:
    fitted = _fitted(target)
    return bool(min(fitted.sum(), (~fitted).sum()) >= FEWEST and len(np.unique(target.label[fitted])) > 1)


def _majority(target: Target) -> float:
    """What the label that is most frequent among the fitted ones gets right."""
    fitted = _fitted(target)
    labels, counts = np.unique(target.label[fitted], return_counts=True)
    return float((target.label[~fitted] == labels[counts.argmax()]).mean())


def _selectivity(read: Read, null: list[Read], sequence: np.ndarray) -> Estimate:
    nulls = {"untrained": np.array([one.selectivity for one in null])}
    return estimate(read.selectivity, len(np.unique(sequence)), nulls, **_bootstrap.ratio(*_by_sequence(read.right - read.controls.mean(0), sequence)))


def _share(right: np.ndarray, sequence: np.ndarray) -> _bootstrap.Interval:
    return _bootstrap.share(*_by_sequence(right, sequence))


def _by_sequence(scores: np.ndarray, sequence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(judged,) scores -> their sums and counts by sequence: these are what was drawn, not the places in them."""
    _, number = np.unique(sequence, return_inverse=True)
    return np.bincount(number, scores), np.bincount(number).astype(np.float64)


def _columns(name: str, found: Estimate) -> Row:
    return {name if key == "value" else f"{name}_{key}": value for key, value in found.items() if key != "n"}


def _draw(metrics: dict[str, Estimate], targets: list[str], sites: list[str]) -> Figure:
    """A panel a target: accuracy by site with its interval, control tasks, and the range of untrained models."""
    columns = min(3, len(targets))
    rows = -(-len(targets) // columns)
    x = range(len(sites))
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(3.1 * columns + 0.4, 2.7 * rows + 0.5), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, name in zip(panels, targets, strict=False):
            found = [metrics[f"{name}.accuracy.{site}"] for site in sites]
            low, high, value = ([one[key] for one in found] for key in ("low", "high", "value"))
            axes.fill_between(x, [one["untrained_low"] for one in found], [one["untrained_high"] for one in found], color="#c8cdd3", label="untrained models")
            axes.errorbar(
                x, value, yerr=[np.subtract(value, low), np.subtract(high, value)], color=COLOURS[0], marker="o", markersize=4, capsize=2, label="probe"
            )
            axes.plot(x, [one["control"] for one in found], color=INK, linestyle=(0, (4, 2)), label="control task")
            axes.set_title(WHAT[name], fontsize=9)
            axes.set_xticks(x, ["embed", *map(str, range(len(sites) - 1))])
            axes.set(ylim=(-0.03, 1.03), xlabel="after layer")
        for axes in panels[len(targets) :]:
            axes.remove()
        figure.supylabel("accuracy on held-out sequences", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure
