"""When does what emerge? The main numbers of a model at every checkpoint of its training, each beside untrained models.

A number has emerged at the first checkpoint from which on it lies outside of what untrained models show; see `_course.py`.
The loss on the same sequences is among them, so that it can be seen what comes before it falls and what comes after.

Shapes: S checkpoints.
"""

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from picollm.analysis._course import Course
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._watch import Watch
from picollm.report.figures import COLOURS, INK
from picollm.training.checkpoints import load_model

FEWEST = 3  # checkpoints
NAMES = {
    "loss": "loss (nats)",
    "distance": "tokens back, highest head",
    "previous": "previous token, highest head",
    "first": "first token, highest head",
    "self": "same token, highest head",
    "induction": "induction, highest head",
    "line": "line in the embeddings",
    "period": "period in the embeddings",
    "cka": "CKA with the final last layer",
}


def analyse(subject: Subject) -> Result | Skip:
    snapshots = subject.snapshots
    if len(snapshots) < FEWEST:
        return Skip(f"{len(snapshots)} checkpoints kept on the way, {FEWEST} are needed: set training.snapshots, or train in more epochs")
    watch = Watch(subject)
    if len(watch.ids) < 2:
        return Skip("needs two different sequences")
    fresh = [dict(watch.numbers(model)) for model in untrained(subject)]
    steps = np.array([step for step, _ in snapshots])
    found = [dict(watch.numbers(load_model(folder).to(subject.model.device))) for _, folder in snapshots]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims: list[Claim] = []
    courses: dict[str, Course] = {}
    for name, final in found[-1].items():
        value, low, high = (np.array([getattr(numbers[name], end) for numbers in found]) for end in ("value", "low", "high"))
        course = courses[name] = Course(steps, value, low, high, np.array([numbers[name].value for numbers in fresh]))
        metrics[f"{name}.final"] = estimate(final.value, final.n, {"untrained": course.null}, low=final.low, high=final.high)
        if lasting := course.lasting():
            metrics[f"{name}.lasts"] = lasting
        claims.append(_claim(name, metrics))
        facts = {"n": final.n, "untrained_low": course.range[0], "untrained_high": course.range[1]}
        table += [{"number": name, "step": int(steps[s]), "value": value[s], "low": low[s], "high": high[s], **facts} for s in range(len(steps))]
    return Result(metrics, {"": _draw(courses, metrics)}, {"": table}, claims=claims)


def _claim(name: str, metrics: dict[str, Estimate]) -> Claim:
    what = NAMES[name][0].upper() + NAMES[name][1:]
    final = f"ends at {{{name}.final:value}} (untrained models: {{{name}.final:untrained_low}} to {{{name}.final:untrained_high}})"
    if f"{name}.lasts" not in metrics:
        return Claim(f"{what} {final}: tested, not found.")
    when = f"leaves the range of untrained models for good at step {{{name}.lasts:step}} ({{{name}.lasts:step_low}} to {{{name}.lasts:step_high}})"
    return Claim(f"{what} {when}, is halfway at step {{{name}.lasts:half}} and {final}.")


def _draw(courses: dict[str, Course], metrics: dict[str, Estimate]) -> Figure:
    """A panel a number: its course with its interval, the range of untrained models, and where it leaves that."""
    columns = min(3, len(courses))
    rows = -(-len(courses) // columns)
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.4), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        shown: dict[str, Artist] = {}
        for axes, (name, course) in zip(panels, courses.items(), strict=False):
            x = course.steps
            axes.axhspan(*course.range, color="#c8cdd3", label="untrained models", linewidth=0)
            axes.fill_between(x, course.low, course.high, color=COLOURS[0], alpha=0.25, linewidth=0)
            axes.plot(x, course.value, color=COLOURS[0], marker="o", markersize=2.5, label="checkpoints, with 95 % intervals")
            if f"{name}.lasts" in metrics:
                axes.axvline(metrics[f"{name}.lasts"]["step"], color=INK, linewidth=0.9, linestyle=(0, (4, 2)), label="out of the range for good")
            axes.set_xscale("symlog", linthresh=max(1, x[x > 0].min()))
            axes.set_xlim(left=0)
            axes.set_title(NAMES[name], fontsize=9)
            axes.set_xlabel("step")
            shown |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        for axes in panels[len(courses) :]:
            axes.remove()
        figure.legend(list(shown.values()), list(shown), loc="outside upper center", ncols=3, fontsize=8)
    return figure
