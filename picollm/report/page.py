"""The report: one page that opens without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from markupsafe import Markup

from picollm.report import cards, figures, findings, reached, sampling, sums, sweeps, tables, verdicts
from picollm.report.cards import Card
from picollm.report.collect import Sweep, Task, flat
from picollm.report.inside import Inside, insides, links
from picollm.report.ledger import Judged
from picollm.report.pictures import LIMIT, Picture, drawing
from picollm.report.rendering import render
from picollm.report.tables import Table
from picollm.report.writing import plain

TEMPLATE = Path(__file__).with_name("report.html")
PARTS = {"addition": "Addition", "text": "Text"}  # by kind of task
NUMBERS = "Numbers"  # all other kinds


@dataclass(frozen=True)
class Section:
    task: Task
    answer: list[str]
    tables: list[Table]
    folded: list[Table]
    curves: list[Picture]
    samples: list[Table]  # of every prompt; from epoch to epoch; what many texts of a run measure
    insides: list[Inside]
    explorers: list[tuple[str, str]]  # (address, the pair)
    cards: list[Card]
    config: list[tuple[str, str]]
    hashes: list[tuple[str, str]]


@dataclass(frozen=True)
class Swept:
    sweep: Sweep
    table: Table
    pictures: list[Picture]


@dataclass(frozen=True)
class Part:
    """Tasks of one kind."""

    name: str
    sections: list[Section]
    groups: list[tuple[str, Table]]  # of model variants, over all sweeps that train them
    sweeps: list[Swept]


@dataclass(frozen=True)
class Report:
    budget: str
    answer: list[tuple[str, str]]  # (what about, a sentence)
    claims: list[Table]
    ideas: list[tuple[str, str]]  # claim -> what its source says, and what the tests leave open
    parts: list[Part]
    misses: list[tuple[str, str]]  # what was not reached, and how far it got
    absent: list[tuple[str, str]]  # what was not part of this budget, and why

    @property
    def sections(self) -> list[Section]:
        return [section for part in self.parts for section in part.sections]

    @property
    def cards(self) -> list[Card]:
        return [card for section in self.sections for card in section.cards]


def build(params: Mapping[str, Any], tasks: Sequence[Task], found: Sequence[Sweep], judged: Sequence[Judged] = ()) -> Report:
    """Everything that the page says, as plain data."""
    budget, settings = str(params.get("budget")), (params.get("samples") or {}).get("settings", {})
    room = LIMIT // max(1, sum(bool(run.pictures) for task in tasks for run in task.runs))
    pairs = params.get("pairs") or {}
    parts = []
    for name in (NUMBERS, *PARTS.values()):
        own = [task for task in tasks if _part(task) == name]
        swept = [sweep for sweep in found if (_part(sweep.task) if sweep.task else NUMBERS) == name]
        sections = [_section(task, [sweep for sweep in swept if sweep.task is task], room, settings, pairs) for task in own]
        drawn = [Swept(sweep, table, [drawing(*one) for one in sweeps.drawings(sweep)]) for sweep in swept if (table := sweeps.table(sweep))]
        parts.append(Part(name, sections, sweeps.together(swept), drawn))
    absent = [(f"run {run.name}", run.missing) for task in tasks for run in task.runs if run.missing]
    absent += [(f"task {task.name}", "no run or sweep uses it") for task in tasks if not task.runs and all(sweep.task is not task for sweep in found)]
    absent += [(f"sweep {sweep.name}", _why(sweep, budget)) for sweep in found if not sweep.cells]
    ideas = [(one.claim.claim, " ".join(filter(None, (f"{one.claim.source}: {one.claim.idea}.", one.claim.untested, one.claim.note)))) for one in judged]
    return Report(
        budget=budget,
        answer=[*findings.answer(tasks, found), *([("claims", said)] if (said := verdicts.sentence(judged)) else [])],
        claims=verdicts.tables(judged),
        ideas=ideas,
        parts=[part for part in parts if part.sections or part.sweeps],
        misses=reached.misses(tasks, found, judged),
        absent=absent,
    )


def html(report: Report) -> str:
    """The page; it can be read without its script."""
    return render(TEMPLATE, report=report, data=Markup(cards.data(report.cards)))


def _part(task: Task) -> str:
    return PARTS.get(task.kind, NUMBERS)


def _section(task: Task, swept: Sequence[Sweep], room: int, settings: dict[str, Any], pairs: Mapping[str, Any]) -> Section:
    shown = [table(task) for table in (tables.results, tables.pairs, tables.unseen, tables.minimal, tables.beyond)]
    folded = [table(task) for table in (tables.splits, tables.sources, tables.families, tables.right_beyond, tables.sure_beyond)]
    return Section(
        task=task,
        answer=findings.sentences(task, swept),
        tables=[*(table for table in shown if table), *sums.tables(task)],
        folded=[table for table in folded if table],
        curves=_curves(task),
        samples=[*sampling.samples(task, settings), *sampling.epochs(task), *sampling.measured(task)],
        insides=insides(task.runs, room),
        explorers=links(pairs, task.runs),
        cards=cards.cards(task),
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
        drawn.append(("longer sequences", figures.lengths(tested, trained=task.trained, style=style, unit=task.unit)))
    paired = {run.name: run.pairs for run in task.runs if run.pairs}
    if paired:
        drawn.append(("more pairs", figures.lengths(paired, figures.length_column(list(chain(*paired.values()))), style=style, x="pairs")))
    along = {run.name: [row for row in run.positions if row.get("split", "").startswith("length")] for run in task.runs}
    if any(along.values()):
        drawn.append(("excess by position", figures.lengths(along, "excess", trained=task.trained, style=style, x="position", unit=task.unit)))
    return [drawing(label, figure) for label, figure in drawn]


def _hashes(files: dict[str, Any]) -> list[tuple[str, str]]:
    """The fingerprints among a stage's metrics."""
    return [(name, value) for name, value in flat(files).items() if isinstance(value, str) and name.endswith(("sha256", "hash", "fingerprint"))]


def _why(sweep: Sweep, budget: str) -> str:
    return f"not part of budget {budget}" if sweep.config.get("seeds") == 0 else "no results"
