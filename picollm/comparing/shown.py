"""A comparison as text of 80 columns, as Markdown, and as plain data."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from picollm.comparing.compared import Compared, changed, common, difference, direction
from picollm.comparing.conditions import Met
from picollm.core.statistics import Summary
from picollm.report._tests import Difference
from picollm.report.markdown import grid
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, estimate, number

WIDTH = 80
COLUMNS = (18, 18, 19)  # of a reference, of what it is compared with, and of their difference, beside a mark

Group = Sequence[Compared]  # its first is what the others are compared with


def pairs(groups: Sequence[Group]) -> list[tuple[Compared, Compared]]:
    """(reference, other) of all groups."""
    return [(first, other) for first, *others in groups for other in others]


def text(groups: Sequence[Group], met: Sequence[Met]) -> str:
    lines: list[str] = []
    for reference, other in pairs(groups):
        lines += [*_block(reference, other), ""]
    lines += [condition(one) for one in met]
    return "\n".join(lines).rstrip("\n")


def markdown(groups: Sequence[Group], met: Sequence[Met]) -> str:
    lines: list[str] = []
    for reference, other in pairs(groups):
        lines += [f"## {other.label} against {reference.label}", *grid(table(reference, other))]
        if apart := parameters(reference, other):
            lines += grid(apart)
        lines.append("")
    lines += [f"- {condition(one)}" for one in met]
    return "\n".join(lines).rstrip("\n")


def data(groups: Sequence[Group], met: Sequence[Met]) -> dict[str, Any]:
    found = []
    for reference, other in pairs(groups):
        metrics = {metric: _numbers(reference, other, metric) for metric in common(reference, other)}
        apart = {name: list(pair) for name, pair in changed(reference, other).items()}
        found.append({"reference": reference.label, "other": other.label, "metrics": metrics, "parameters": apart})
    conditions = [{"condition": one.condition.text, "met": one.met, "difference": one.said} for one in met]
    return {"comparisons": found, "conditions": conditions}


def table(reference: Compared, other: Compared) -> Table:
    """Every metric that both have."""
    rows = []
    for metric in common(reference, other):
        found = difference(other, reference, metric)
        sides = [estimate(side.mean(metric)) for side in (reference, other)]
        rows.append(Row(metric, [*sides, _difference(reference, other, metric, found), _reading(metric, found)], kind="cell"))
    head = ("metric", reference.label, other.label, "difference, 95 %", "reading")
    return Table(f"Means over seeds ± half the 95 % interval (t). {_paired(reference, other)}", head, rows)


def parameters(reference: Compared, other: Compared) -> Table | None:
    rows = [Row(name, pair, kind="cell") for name, pair in changed(reference, other).items()]
    return Table("Parameters that differ.", ("parameter", reference.label, other.label), rows) if rows else None


def _block(reference: Compared, other: Compared) -> Iterator[str]:
    yield from wrap(f"{other.label} against {reference.label}", WIDTH)
    first = reference.headlines or other.headlines
    metrics = [metric for metric in common(reference, other) if not first or metric in first]
    if metrics:
        yield _line("", "reference", "this", "difference, 95 %", "")
    for metric in metrics:
        found = difference(other, reference, metric)
        mark = {"better": "+", "worse": "-"}.get(_reading(metric, found), "")
        yield _line(metric, *(estimate(side.mean(metric)) for side in (reference, other)), _short(reference, other, metric, found), mark)
    if metrics:
        yield from wrap(f"{_paired(reference, other)} + better, - worse than the reference, by the whole interval.", WIDTH)
    else:
        yield "no metric that both have: parameters alone"
    apart = changed(reference, other)
    yield f"parameters that differ: {'' if apart else 'none'}".rstrip()
    for name, (left, right) in apart.items():
        yield from wrap(f"{name}: {left} -> {right}", WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=True)


def _line(name: str, *cells: str) -> str:
    """A name that is too long for its column has a line of its own."""
    *values, mark = cells
    width = WIDTH - sum(COLUMNS) - len(COLUMNS) - 2
    shown = " ".join(cell.rjust(column) for cell, column in zip(values, COLUMNS, strict=True))
    row = f"{name if len(name) <= width else '':<{width}} {shown} {mark}".rstrip()
    return f"{name}\n{row}" if len(name) > width else row


def _difference(reference: Compared, other: Compared, metric: str, found: Difference | None) -> str:
    if found is None:
        return number(other.mean(metric)["mean"] - reference.mean(metric)["mean"], 3)
    interval = "" if found.low is None or found.high is None else f" [{number(found.low, 2)}, {number(found.high, 2)}]"
    return f"{number(found.value, 3)}{interval}"


def _short(reference: Compared, other: Compared, metric: str, found: Difference | None) -> str:
    """With half its interval, which is as wide above as below."""
    if found is None or found.low is None or found.high is None:
        return _difference(reference, other, metric, found)
    return f"{number(found.value, 3)} ± {number((found.high - found.low) / 2, 2)}"


def _reading(metric: str, found: Difference | None) -> str:
    """Of the other against the reference."""
    if found is None or found.low is None or found.high is None:
        return NONE
    sign = 1 if found.low > 0 else -1 if found.high < 0 else 0
    if not sign:
        return "no difference shown"
    better = sign * direction(metric)
    return "better" if better > 0 else "worse" if better < 0 else "higher" if sign > 0 else "lower"


def _paired(reference: Compared, other: Compared) -> str:
    if reference.stream is not None and reference.stream == other.stream:
        return "Differences are paired by seed where both have the same seeds, which saw the same data."
    return "Differences are not paired (Welch): the seeds saw other data, or it is not known which."


def _numbers(reference: Compared, other: Compared, metric: str) -> dict[str, Any]:
    found = difference(other, reference, metric)
    sides: dict[str, Summary] = {"reference": reference.mean(metric), "other": other.mean(metric)}
    if found is None:
        return {**sides, "difference": sides["other"]["mean"] - sides["reference"]["mean"]}
    return {**sides, "difference": found.value, "low": found.low, "high": found.high, "n": found.n, "how": found.how, "reading": _reading(metric, found)}


def condition(one: Met) -> str:
    return f"{'FAILED' if one.met else 'ok'}: {one.condition.text}: {one.said}"
