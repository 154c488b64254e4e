"""What the report says of adders: proofs, strata, exact match by length, where errors are, tokens by base, and the curve with its plateaus."""

from statistics import median
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from picollm.core.statistics import proportion
from picollm.report.collect import Run, Task
from picollm.report.figures import INK, SETTINGS, over_seeds, training_curves
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, number


def tables(task: Task) -> list[Table]:
    """None of a task of another kind, or without results."""
    if task.kind != "addition":
        return []
    found = [_proofs(task), _strata(task), _exact(task), _errors(task), _tokens(task)]
    return [table for table in found if table]


def curve(task: Task) -> Figure | None:
    """Share of the validation problems that are right against the step, with what looking back 0, 1, 2, ... columns gives at best, counted exactly."""
    seeds = {run.name: [run.curve] for run in task.runs if over_seeds(run.curve, "step", "validation_exact")}
    if task.kind != "addition" or not seeds:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure = training_curves(seeds, ["validation_exact"], None, {run.name: run.style for run in task.runs})
        axes = figure.axes[0]
        axes.set_yscale("linear")
        axes.set(ylabel="problems right", ylim=(-0.02, 1.04))
        for back, share in task.generated.get("plateaus", {}).items():
            axes.axhline(share, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            if share < 0.98:  # further ones lie too close together to be told apart
                axes.annotate(f"looks back {back}: {100 * share:.4f} %", (1, share), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    return figure


def _rate(rate: dict[str, float] | None) -> str:
    return NONE if not rate else f"{rate['successes']:,.0f} of {rate['n']:,.0f}"


def _each(task: Task, key: str) -> list[tuple[Run, str, dict[str, Any]]]:
    """(run, seed, what stands at `key`) wherever something does."""
    return [
        (run, seed, result[key])
        for run in task.runs
        for seed, result in run.evaluation.get("seeds", {}).items()
        if key in result and "skipped" not in result[key]
    ]


def _proofs(task: Task) -> Table | None:
    rows, held = [], dict[str, list[bool]]()
    for run, seed, proof in _each(task, "proof"):
        counts = [f"{proof[name]:,}" for name in ("cases", "pairs", "failures")]
        margin = number(proof["margin"]) if "margin" in proof else NONE
        rows.append(
            Row(f"{run.name} seed {seed}", [proof["kind"], *counts, margin, number(proof["rounding"], 2), "yes" if proof["holds"] else "no"], style=run.style)
        )
        held.setdefault(run.name, []).append(bool(proof["holds"]))
    notes = []
    for name, values in held.items():
        rate = proportion(sum(values), len(values))
        notes.append(f"{name}: proved for {_rate(rate)} seeds, which means a rate of at least {100 * rate['low']:.0f} % (95 %).")
    caption = "Proofs: all ordered pairs of operands, computed one by one (exhaustive) or by the columns that decide them (certificate). Margins are logits."
    return Table(caption, ["model", "kind", "cases", "pairs", "failures", "smallest margin", "rounding", "proved"], rows, notes) if rows else None


def _strata(task: Task) -> Table | None:
    found = _each(task, "strata")
    if not found:
        return None
    first = found[0][2]
    chains, suites = sorted(first["chains"], key=int), list(first["suites"])
    rows = []
    for run, seed, strata in found:
        worst = min(strata["lengths"], key=lambda name: strata["lengths"][name]["successes"])
        lengths = f"{worst}: {_rate(strata['lengths'][worst])}"
        cells = [lengths, *(_rate(strata["chains"].get(chain)) for chain in chains), *(_rate(strata["suites"].get(suite)) for suite in suites)]
        rows.append(Row(f"{run.name} seed {seed}", [*cells, _rate(strata["commutes"])], style=run.style))
    head = ["model", "worst pair of lengths", *(f"chain {chain}" for chain in chains), *suites, "a+b as b+a"]
    return Table("Right answers by stratum: the pair of operand lengths with the fewest, the longest carry chain, nines, round numbers, carries.", head, rows)


def _exact(task: Task) -> Table | None:
    runs = [run for run in task.runs if any(name.startswith("exact_") for name in run.summary)]
    lengths = sorted({int(name.removeprefix("exact_")) for run in runs for name in run.summary if name.startswith("exact_")})
    if not lengths:
        return None
    rows = []
    for run in runs:
        cells = []
        for length in lengths:
            found = [seed.get("lengths", {}).get(str(length), {}).get("exact") for seed in run.evaluation["seeds"].values()]
            rates = [rate for rate in found if rate]
            if not rates:
                cells.append(NONE)
                continue
            values = [100 * rate["successes"] / rate["n"] for rate in rates]
            cells.append(f"{number(median(values))} [{number(100 * min(rate['low'] for rate in rates))}, {number(100 * max(rate['high'] for rate in rates))}]")
        rows.append(Row(run.name, cells, style=run.style))
    caption = f"Exact match by digits of both operands, %: median over seeds [ends of all seeds' 95 % intervals]. Trained up to {task.trained} digits."
    return Table(caption, ["run", *map(str, lengths)], rows)


def _errors(task: Task) -> Table | None:
    """Over all seeds, where on the test split the first wrong token of an answer stands."""
    counts: dict[str, list[int]] = {}
    styles = {run.name: run.style for run in task.runs}
    for run, _, test in _each(task, "test"):
        own = counts.setdefault(run.name, [])
        for place, count in enumerate(test.get("first_wrong_at", [])):
            own.extend([0] * (place + 1 - len(own)))
            own[place] += count
    longest = max(map(len, counts.values()), default=0)
    rows = [Row(name, [f"{count:,}" for count in [*own, *[0] * (longest - len(own))]], style=styles[name]) for name, own in counts.items()]
    return (
        Table("First wrong token of an answer, problems of the test split over all seeds.", ["run", *map(str, range(1, longest + 1))], rows)
        if longest
        else None
    )


def _tokens(task: Task) -> Table | None:
    found = task.generated.get("tokens_per_problem", {})
    rows = [Row(base, [number(cost["padded"]), number(cost["mean"])], "control") for base, cost in sorted(found.items(), key=lambda item: int(item[0]))]
    return (
        Table("Tokens of a sum of the same numbers in other bases: with all zeros, and on average without any.", ["base", "padded", "mean"], rows)
        if rows
        else None
    )
