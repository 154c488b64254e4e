"""A comparison as one page that opens without a network: the tables, and the curves laid over one another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picollm.comparing import shown
from picollm.comparing.conditions import Met
from picollm.report import figures
from picollm.report.pictures import Picture, drawing
from picollm.report.rendering import render

TEMPLATE = Path(__file__).with_name("page.html")


def html(groups: Sequence[shown.Group], met: Sequence[Met]) -> str:
    lines = [shown.condition(one) for one in met]
    return render(TEMPLATE, sections=[_section(group) for group in groups], conditions=lines)


def _section(group: shown.Group) -> dict[str, Any]:
    first, *others = group
    tables = [table for other in others for table in (shown.table(first, other), shown.parameters(first, other)) if table and table.rows]
    return {"title": " and ".join(one.label for one in group), "curves": _curves(group), "tables": tables}


def _curves(group: shown.Group) -> list[Picture]:
    drawn = {one.label: [one.curve] for one in group if one.curve}
    columns = ("train_loss", "validation_loss") if drawn else ()
    return [drawing(figures.LABELS[column], figures.training_curves(drawn, [column])) for column in columns]
