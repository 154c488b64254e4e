"""What the interpretation of the runs of a task found, side by side: sentences, numbers, pictures, and the way to all of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picollm.evaluation import skipped
from picollm.report.collect import Run, differences, flat, groups, made_of
from picollm.report.pictures import Picture, fitting
from picollm.report.tables import Row, Table, behind
from picollm.report.writing import plain

FIRST = 1  # sentences of an analysis: it says what matters most first


@dataclass(frozen=True)
class Column:
    """One run of a side-by-side."""

    run: Run
    differs: str  # from the first run of its group, e.g. "model.attention: linear"
    report: str  # the address of all its sentences, from the page
    pictures: list[Picture]
    others: list[tuple[str, str]]  # (address, title) of pictures that the page has no room for
    skipped: dict[str, list[str]]  # why analyses do not apply -> which


@dataclass(frozen=True)
class Inside:
    """Runs that differ in one parameter."""

    columns: list[Column]
    found: Table | None  # analysis by run: what it says first
    numbers: Table | None


def insides(runs: Sequence[Run], room: int) -> list[Inside]:
    """The runs that were looked into, those together that differ from the first of them in one parameter. room: characters of pictures of a run."""
    looked = [run for run in runs if run.pictures or run.interpret]
    return [Inside([_column(run, group, room) for run in group], _found(group), behind(group)) for group in groups(looked)]


def links(pairs: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]) -> list[tuple[str, str]]:
    """[(address from the page, "left and right")] of the explorers of pairs of checkpoints of these runs."""
    present = {run.name for run in runs if run.interpret}
    shown = {name: (str(pair["left"]), str(pair["right"])) for name, pair in pairs.items()}
    return [(f"explore/{name}.html", f"{left} and {right}") for name, (left, right) in shown.items() if left.partition("/")[0] in present]


def _column(run: Run, group: Sequence[Run], room: int) -> Column:
    apart = differences([made_of(other) for other in (group if run is group[0] else (group[0], run))])
    own = flat(made_of(run))
    differs = ", ".join(f"{name}: {plain(own.get(name))}" for name in sorted(apart))
    report = f"interpret/{run.name}/report.md" if any(entry.get("claims") for entry in run.interpret.values()) else ""
    pictures = fitting(_first(run), room)
    shown = {picture.title for picture in pictures}
    titles = {f"interpret/{run.name}/{path.name}": path.stem.replace("_", " ") for path in run.pictures}
    others = [(address, title) for address, title in titles.items() if title not in shown]
    reasons: dict[str, list[str]] = defaultdict(list)
    for analysis, reason in skipped(run.interpret).items():
        reasons[reason].append(analysis.replace("_", " "))
    return Column(run, differs, report, pictures, others, dict(reasons))


def _first(run: Run) -> list[Path]:
    """The first picture of every analysis; all are in the run's folder."""
    names = [next((file for file in entry.get("files", []) if file.endswith(".png")), None) for entry in run.interpret.values()]
    wanted = [name for name in names if name]
    return [path for name in wanted for path in run.pictures if path.name == name]


def _found(group: Sequence[Run]) -> Table | None:
    """A row an analysis, its first sentence on each run."""
    analyses = dict.fromkeys(name for run in group for name, entry in run.interpret.items() if entry.get("claims"))
    if not analyses:
        return None
    said = {name: [" ".join(run.interpret.get(name, {}).get("claims", [])[:FIRST]) for run in group] for name in analyses}
    rows = [Row(name.replace("_", " "), cells, kind="text") for name, cells in said.items()]
    return Table("What each analysis says first; every number against its null.", ["analysis", *(run.name for run in group)], rows)
