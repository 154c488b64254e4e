"""What sweeps found: a table each, and the variants of a group over all the tasks that they were trained on.

A variant that was trained at several points of a grid is shown at the one with the lowest validation loss: test data choose nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from picollm.blocks import TRAINED
from picollm.report import figures
from picollm.report import success as succeeded
from picollm.report.claims import short
from picollm.report.collect import Sweep
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, metric, number, plain, title, varied
from picollm.study import EQUAL

PRIMARY = ("excess", "excess_bits_per_byte", "bits_per_byte", "validation_loss")  # what variants are judged by: the first of these that was measured
SURE = ("worst_excess", "never_wrong", "never_wrong_identified", "calibration_error", "walk_calibration_error")  # at a length
RIGHT = ("test_accuracy", "accuracy")


def table(sweep: Sweep) -> Table | None:
    """A row per cell; None for a sweep without results."""
    if not sweep.cells:
        return None
    return _of_variants(sweep) if sweep.group else _of_grid(sweep)


def _of_variants(sweep: Sweep) -> Table:
    names = [primary(sweep), *_first(sweep, RIGHT), *_longest(sweep)]
    (points, fixed), rated = _grid(sweep), bool(sweep.config.get("success"))
    rows = []
    for cell in sweep.cells:
        label = ", ".join([cell["variant"], *(plain(cell["point"].get(name)) for name in points)])
        cells = [f"{cell['parameters']:,}", *(metric(cell["summary"], name) for name in names), *([solved(cell)] if rated else [])]
        rows.append(Row(label, cells, style=sweep.styles.get(cell["variant"])))
    value = floor(sweep)
    caption = f"Variants of {sweep.group} on {sweep.config.get('task')}{fixed}: {terms(sweep)}. Means over seeds ± half the 95 % interval (t)."
    caption += "" if value is None else f" The exact floor is {number(value)} nats per token."
    caption += " A rate stands with its 95 % interval (Clopper-Pearson)." if rated else ""
    head = [", ".join(["variant", *points]), "parameters", *map(title, names), *([f"seeds with {success(sweep)}"] if rated else [])]
    return Table(caption, head, rows, _skips(sweep))


def _of_grid(sweep: Sweep) -> Table:
    names = [name for name in (*TRAINED, *_first(sweep, PRIMARY[:3]), *_first(sweep, RIGHT)) if name in _measured(sweep)]
    (points, fixed), rated = _grid(sweep), bool(sweep.config.get("success"))
    sized = len({cell["parameters"] for cell in sweep.cells}) > 1
    rows = []
    for cell in sweep.cells:
        label = ", ".join(plain(cell["point"].get(name)) for name in points)
        size = [f"{cell['parameters']:,}"] if sized else []
        rows.append(Row(label, [*size, *(metric(cell["summary"], name) for name in names), *([solved(cell)] if rated else [])], kind="cell"))
    base = str(sweep.config.get("base")).removeprefix("runs.")
    head = [", ".join(points), *(["parameters"] if sized else []), *map(title, names), *([f"seeds with {success(sweep)}"] if rated else [])]
    return Table(f"Base run {base}{fixed}.", head, rows, _skips(sweep))


def _grid(sweep: Sweep) -> tuple[list[str], str]:
    """The parameters in which cells differ, all of them if nothing else tells cells apart; and in words those that are the same in all."""
    grid, differing = list(sweep.config.get("grid") or {}), varied(sweep.cells)  # in the order of params.yaml: that of the results is the alphabet's
    points = [name for name in grid if name in differing] or ([] if sweep.group else grid)
    fixed = [f"{name} {plain(sweep.cells[0]['point'].get(name))}" for name in grid if name not in points]
    return points, f", with {', '.join(fixed)}" if fixed else ""


def called(sweep: Sweep, cell: Mapping[str, Any]) -> str:
    """The variant, or where on the grid the cell differs from others."""
    names = short(sweep.config.get("grid") or {})
    return str(cell["variant"] or " ".join(f"{names[name]}={plain(cell['point'].get(name))}" for name in _grid(sweep)[0]))


def _skips(sweep: Sweep) -> list[str]:
    return [f"{cell['label']}: {'; '.join(cell['skipped'])}." for cell in sweep.cells if cell["skipped"]]


def together(sweeps: Sequence[Sweep]) -> list[tuple[str, Table]]:
    """For each group of variants that more than one sweep trained, variant by sweep: the primary metric and the success rate."""
    found: dict[str, list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        if sweep.group and sweep.cells:
            found[sweep.group].append(sweep)
    return [(group, _together(group, members)) for group, members in found.items() if len(members) > 1]


def _together(group: str, sweeps: Sequence[Sweep]) -> Table:
    tasks = [str(sweep.config.get("task")) for sweep in sweeps]
    names = tasks if len(set(tasks)) == len(tasks) else [sweep.name for sweep in sweeps]
    cells = [{cell["variant"]: cell for cell in chosen(sweep)} for sweep in sweeps]
    head, floors = ["variant"], []
    for name, sweep in zip(names, sweeps, strict=True):
        rated = bool(sweep.config.get("success"))
        head += [f"{name}: {title(primary(sweep))}", *([f"{name}: {success(sweep)}"] if rated else [])]
        value = floor(sweep)
        floors += [NONE if value is None else number(value), *([""] if rated else [])]
    rows = []
    for variant, style in sweeps[0].styles.items():
        line: list[str] = []
        for sweep, own in zip(sweeps, cells, strict=True):
            cell = own.get(variant)
            line.append(metric(cell["summary"], primary(sweep)) if cell else NONE)
            line += [solved(cell) if cell else NONE] if sweep.config.get("success") else []
        if any(variant in own for own in cells):
            rows.append(Row(variant, line, style=style))
    rows.append(Row("exact floor, nats", floors, "floor"))
    conditions = list(dict.fromkeys(terms(sweep) for sweep in sweeps))
    agreed = conditions[0] if len(conditions) == 1 else "; ".join(f"{name} with {terms(sweep)}" for name, sweep in zip(names, sweeps, strict=True))
    best = " Of a grid, the point with the lowest validation loss." if any(sweep.config.get("grid") for sweep in sweeps) else ""
    return Table(f"Variants of {group} on each task: {agreed}. Means over seeds ± half the 95 % interval (t); successes with theirs.{best}", head, rows)


def drawings(sweep: Sweep) -> list[tuple[str, Figure]]:
    """The losses over its grid; success over the parameters; the lengths that were evaluated, or what else its task grows by.

    A line is a variant, or a cell of a sweep of a run.
    """
    shown = {cell["label"]: called(sweep, cell) for cell in chosen(sweep)}
    style = {**figures.styles({name: {} for name in shown.values()}), **sweep.styles}
    trained, unit = (sweep.task.trained, sweep.task.unit) if sweep.task else (None, "tokens")
    grid = list(sweep.config.get("grid") or {})
    result = [("losses over the grid", figures.sweep(grid, sweep.cells, sweep.styles))] if grid and sweep.cells else []
    if sweep.config.get("success") and (rated := succeeded.figure(sweep.cells, success(sweep))):
        result.append(("parameters against success", rated))
    for axis, rows in sweep.tables.items():
        lines = {name: [row for row in rows if row["label"] == label] for label, name in shown.items()}
        result.append((f"by {axis}", figures.lengths(lines, figures.length_column(rows), trained=trained, style=style, x=axis, unit=unit)))
    return result


def headlines(sweep: Sweep) -> dict[str, float]:
    """Best and worst variant, and how many succeeded with every seed: the few numbers worth a column in `dvc exp show`."""
    name = primary(sweep)
    means = [cell["summary"][name]["mean"] for cell in chosen(sweep) if name in cell["summary"]]
    if not sweep.group or not means:
        return {}
    rated = {"variants_solved": float(sum(map(all_solved, chosen(sweep))))} if sweep.config.get("success") else {}
    return {f"best_{name}": min(means), f"worst_{name}": max(means), **rated}


def chosen(sweep: Sweep) -> list[dict[str, Any]]:
    """Of each variant the cell with the lowest validation loss; every cell of a sweep of a run."""
    if not sweep.group:
        return sweep.cells
    best: dict[str, dict[str, Any]] = {}
    for cell in sweep.cells:
        loss = cell["summary"]["validation_loss"]["mean"]
        if cell["variant"] not in best or loss < best[cell["variant"]]["summary"]["validation_loss"]["mean"]:
            best[cell["variant"]] = cell
    return list(best.values())


def primary(sweep: Sweep) -> str:
    return next(iter(_first(sweep, PRIMARY)), PRIMARY[-1])


def floor(sweep: Sweep) -> float | None:
    """Nats per token: of the very sequences that were tested, before that the expected one."""
    tested = [cell["summary"]["floor"]["mean"] for cell in sweep.cells if "floor" in cell["summary"]]
    return tested[0] if tested else sweep.task.floor if sweep.task else None


def solved(cell: Mapping[str, Any]) -> str:
    """`5/5 [0.48, 1]`"""
    rate = cell.get("success")
    return f"{rate['successes']}/{rate['n']} [{rate['low']:.2g}, {rate['high']:.2g}]" if rate else NONE


def all_solved(cell: Mapping[str, Any]) -> bool:
    return "success" in cell and cell["success"]["successes"] == cell["success"]["n"]


def terms(sweep: Sweep) -> str:
    """What the variants have in common, as measured: "equal parameters (2 %), equal tokens"."""
    firsts: dict[str, Mapping[str, Any]] = {}
    apart = dict.fromkeys(("parameters", "tokens"), 0.0)
    for cell in sweep.cells:
        first = firsts.setdefault(plain(cell["point"]), cell)
        apart = {name: max(most, abs(cell[name] / first[name] - 1)) for name, most in apart.items()}
    size = f"equal parameters ({100 * EQUAL:g} %)" if apart["parameters"] <= EQUAL else f"parameters up to {100 * apart['parameters']:.0f} % apart"
    budget = f"tokens up to {100 * apart['tokens']:.2g} % apart" if apart["tokens"] else "equal tokens"
    return f"{size}, {budget}"


def success(sweep: Sweep) -> str:
    rule = sweep.config["success"]
    least = rule.get("at_least")
    return f"{rule['metric']} {'≤' if least is None else '≥'} {rule.get('at_most') if least is None else least}"


def _measured(sweep: Sweep) -> set[str]:
    return {name for cell in sweep.cells for name in cell["summary"]}


def _first(sweep: Sweep, names: Sequence[str]) -> list[str]:
    """The first of `names` that was measured."""
    return [name for name in names if name in _measured(sweep)][:1]


def _longest(sweep: Sweep) -> list[str]:
    """Of each axis the excess at its far end, the accuracy there where the floor is 0; and how sure of itself a model is at the longest."""
    found = []
    for axis, rows in sweep.tables.items():
        prefix = f"{figures.length_column(rows)}_{'' if axis == 'length' else f'{axis}_'}"
        ends = sorted(int(end) for name in _measured(sweep) if name.startswith(prefix) and (end := name.removeprefix(prefix)).isdigit())
        found += [f"{prefix}{end}" for end in ends[-1:]]
        found += [name for end in ends[-1:] for measure in SURE if (name := f"{measure}_{end}") in _measured(sweep) and axis == "length"]
    return found
