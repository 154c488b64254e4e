"""The report: one page that opens without a network."""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from picollm.evaluation import skipped
from picollm.report import figures, findings, sampling, sums, sweeps, tables, verdicts
from picollm.report.collect import Run, Sweep, Task, differences, flat, groups, made_of
from picollm.report.ledger import Judged
from picollm.report.tables import Table, judged_by, metric, plain, title

TEMPLATES = Path(__file__).parent
LIMIT = 9_000_000  # characters of pictures: the whole page stays below 10 MB


@dataclass(frozen=True)
class Picture:
    """A drawing inside the page: inline SVG, or a PNG as a data URI. Empty: left out to keep the page small."""

    title: str
    svg: str = ""
    uri: str = ""


@dataclass(frozen=True)
class Column:
    """A run's pictures in a side-by-side."""

    run: Run
    differs: str  # from the first run of its group, e.g. "model.attention: linear"
    pictures: list[Picture]
    skipped: dict[str, str]  # analysis -> why it does not apply


@dataclass(frozen=True)
class Card:
    """A run's configuration beside its results."""

    run: Run
    own: list[tuple[str, str]]  # parameters that differ from those of the other runs of the task
    shared: list[tuple[str, str]]
    results: list[tuple[str, str]]  # the headline metrics
    more: list[tuple[str, str]]
    command: str
    hashes: list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    task: Task
    answer: list[str]
    tables: list[Table]
    curves: list[Picture]
    samples: list[Table]  # of every prompt; and from epoch to epoch
    measured: list[Table]  # what many texts of a run measure
    sides: list[tuple[list[Column], Table | None]]
    cards: list[Card]
    config: list[tuple[str, str]]
    hashes: list[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    budget: str
    sections: list[Section]
    claimed: str  # the ledger in a sentence
    claims: list[Table]
    ideas: list[tuple[str, str]]  # claim -> what its source says, and what the tests leave open
    groups: list[tuple[str, Table]]  # of model variants, over all sweeps that train them
    sweeps: list[tuple[Sweep, Table | None, list[Picture]]]
    absent: list[tuple[str, str]]  # what was not part of this budget, and why


class _Pictures:
    """Reads PNG files into data URIs until the page is full."""

    def __init__(self) -> None:
        self.left = LIMIT

    def __call__(self, path: Path) -> Picture:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        title = path.stem.replace("_", " ")
        if len(data) > self.left:
            return Picture(f"{title} (left out to keep this page small: see {path.parent.parent.name}/{path.parent.name}/{path.name})")
        self.left -= len(data)
        return Picture(title, uri=f"data:image/png;base64,{data}")


def build(params: dict[str, Any], tasks: Sequence[Task], found: Sequence[Sweep], judged: Sequence[Judged] = ()) -> Report:
    """Everything that the page says, as plain data."""
    pictures, budget = _Pictures(), str(params.get("budget"))
    settings = (params.get("samples") or {}).get("settings", {})
    sections = [_section(task, [sweep for sweep in found if sweep.task is task], pictures, settings) for task in tasks]
    shown = [(sweep, sweeps.table(sweep), [Picture(label, svg=Markup(figures.svg(figure))) for label, figure in sweeps.drawings(sweep)]) for sweep in found]
    absent = [(f"run {run.name}", run.missing) for task in tasks for run in task.runs if run.missing]
    absent += [(f"task {task.name}", "no run or sweep uses it") for task in tasks if not task.runs and all(sweep.task is not task for sweep in found)]
    absent += [(f"sweep {sweep.name}", _why(sweep, budget)) for sweep in found if not sweep.cells]
    ideas = [(one.claim.claim, " ".join(filter(None, (f"{one.claim.source}: {one.claim.idea}.", one.claim.untested, one.claim.note)))) for one in judged]
    return Report(budget, sections, verdicts.sentence(judged), verdicts.tables(judged), ideas, sweeps.together(found), shown, absent)


def html(report: Report) -> str:
    """The page: everything inline, nothing fetched, no script."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html").render(report=report, css=css) + "\n"


def _section(task: Task, swept: Sequence[Sweep], pictures: _Pictures, settings: dict[str, Any]) -> Section:
    asked = (
        *(tables.results, tables.pairs, tables.splits, tables.sources, tables.unseen, tables.minimal),
        *(tables.families, tables.beyond, tables.right_beyond, tables.sure_beyond),
    )
    found = [*(table(task) for table in asked), *sums.tables(task)]
    apart = differences([run.config for run in task.runs])
    return Section(
        task=task,
        answer=findings.sentences(task, swept),
        tables=[table for table in found if table],
        curves=_curves(task),
        samples=[*sampling.samples(task, settings), *sampling.epochs(task)],
        measured=sampling.measured(task),
        sides=[(_side(group, pictures), tables.behind(group)) for group in groups([run for run in task.runs if run.pictures or run.interpret])],
        cards=[_card(run, task.kind, apart) for run in task.runs],
        config=[(name, plain(value)) for name, value in flat(task.config).items()],
        hashes=_hashes({"generate": task.generated, "tokenize": task.tokenized}),
    )


def _curves(task: Task) -> list[Picture]:
    style = {run.name: run.style for run in task.runs}
    tested = {run.name: run.lengths for run in task.runs if run.lengths}
    seeds = {run.name: [run.curve] for run in task.runs if run.curve}
    columns = ("train_loss", "validation_loss") if seeds else ()
    drawn = [(figures.LABELS[column], figures.training_curves(seeds, [column], task.floor, style)) for column in columns]
    if right := sums.curve(task):
        drawn.append(("problems right", right))
    if tested:
        drawn.append(("longer sequences", figures.lengths(tested, trained=task.trained, style=style)))
    paired = {run.name: run.pairs for run in task.runs if run.pairs}
    if paired:
        drawn.append(("more pairs", figures.lengths(paired, figures.length_column(list(chain(*paired.values()))), style=style, x="pairs")))
    along = {run.name: [row for row in run.positions if row.get("split", "").startswith("length")] for run in task.runs}
    if any(along.values()):
        drawn.append(("excess by position", figures.lengths(along, "excess", trained=task.trained, style=style, x="position")))
    return [Picture(label, svg=Markup(figures.svg(figure))) for label, figure in drawn]


def _side(group: Sequence[Run], pictures: _Pictures) -> list[Column]:
    """The first run of a group and those that differ from it in one parameter."""
    columns = []
    for run in group:
        apart = differences([made_of(other) for other in (group if run is group[0] else (group[0], run))])
        own = flat(made_of(run))
        differs = ", ".join(f"{name}: {plain(own.get(name))}" for name in sorted(apart))
        columns.append(Column(run, differs, [pictures(path) for path in run.pictures], skipped(run.interpret)))
    return columns


def _card(run: Run, kind: str, apart: set[str]) -> Card:
    config = [(name, plain(value)) for name, value in flat(run.config).items()]
    facts = [(name, f"{run.train[name]:,}") for name in ("parameters", "steps", "tokens") if run.train.get(name)]
    measured = {name: metric(run.summary, name) for name in sorted(run.summary)}
    first = [name for name in judged_by(kind) if name in measured]
    marks: dict[str, list[str]] = {}
    for seed, value in run.train.get("fingerprints", {}).items():
        marks.setdefault(plain(value), []).append(seed)
    return Card(
        run=run,
        own=[item for item in config if item[0] in apart],
        shared=[item for item in config if item[0] not in apart],
        results=[(title(name), measured[name]) for name in first],
        more=[*facts, *((title(name), measured[name]) for name in measured if name not in first)],
        command=shlex.join(["dvc", "repro", f"train@{run.name}", f"evaluate@{run.name}"]),
        hashes=[(f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}", mark) for mark, seeds in marks.items()],
    )


def _hashes(files: dict[str, Any]) -> list[tuple[str, str]]:
    """The fingerprints among a stage's metrics."""
    return [(name, value) for name, value in flat(files).items() if isinstance(value, str) and name.endswith(("sha256", "hash", "fingerprint"))]


def _why(sweep: Sweep, budget: str) -> str:
    return f"not part of budget {budget}" if sweep.config.get("seeds") == 0 else "no results"
