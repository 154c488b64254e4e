"""The report's tables for the terminal and for pull requests: readable as text, and GitHub's Markdown."""

from collections.abc import Iterator, Sequence
from itertools import chain

from picollm.report.cards import Card
from picollm.report.page import Report, Section
from picollm.report.tables import Table
from picollm.report.writing import NONE


def markdown(report: Report) -> str:
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# picollm: results of budget {report.budget}"
    yield ""
    yield from (f"- **{text(what)}** {text(line)}" for what, line in report.answer) if report.answer else ("No results in this budget.",)
    if report.claims:
        yield from ("", "## Claims of the originals")
        yield from chain.from_iterable(map(grid, report.claims))
    for part in report.parts:
        yield from ("", f"## {part.name}")
        yield from chain.from_iterable(map(_section, part.sections))
        for group, variants in part.groups:
            yield from ("", f"### Variants of {text(group)}")
            yield from grid(variants)
        for swept in part.sweeps:
            yield from ("", f"### Sweep {text(swept.sweep.name)}")
            yield from grid(swept.table)
    if report.misses:
        yield from ("", "## Not reached", "")
        yield from (f"- {text(name)}: {text(far)}" for name, far in report.misses)
    if report.absent:
        yield from ("", "## Missing in this budget", "")
        yield from (f"- {text(name)}: {text(reason)}" for name, reason in report.absent)


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"### {text(section.task.name)} ({text(section.task.kind)})", "")
    yield from (f"- {text(line)}" for line in section.answer)
    for table in (*section.tables, *section.folded, *section.samples, *(inside.found for inside in section.insides if inside.found)):
        yield from grid(table)
    if section.cards:
        yield from ("", "#### Configurations", "")
        yield from (f"- {line}" for card in section.cards for line in _card(card))


def _card(card: Card) -> Iterator[str]:
    own = "; ".join(f"{name}: {value}" for name, value in card.own)
    yield f"{text(card.run.name)}{': ' + text(own) if own else ''} (`{card.command}`)"


def grid(table: Table) -> Iterator[str]:
    """Columns padded to one width: the same table in a terminal."""
    rows = [[row.label, *(row.cells or [row.note or NONE])] for row in table.rows]
    cells = [[text(cell) for cell in [*row, *[""] * (len(table.head) - len(row))]] for row in [table.head, *rows]]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(table.head))]
    yield from ("", text(table.caption), "")
    yield _line([cell.ljust(width) for cell, width in zip(cells[0], widths, strict=True)])
    yield _line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for row in cells[1:]:
        yield _line([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
    for note in table.notes:
        yield from ("", text(note))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def text(value: str) -> str:
    """One line that no character of a name can turn into markup."""
    value = " ".join(value.split())
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
        value = value.replace(character, escaped)
    return value
