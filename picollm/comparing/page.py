"""A comparison as one page that opens without a network: the tables, and the curves laid over one another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from picollm.comparing import shown
from picollm.comparing.conditions import Met
from picollm.report import figures
from picollm.report.inside import Picture
from picollm.report.page import TEMPLATES


def html(groups: Sequence[shown.Group], met: Sequence[Met]) -> str:
    folders = [Path(__file__).parent, TEMPLATES]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    lines = [shown.condition(one) for one in met]
    return environment.get_template("page.html").render(css=css, sections=[_section(group) for group in groups], conditions=lines) + "\n"


def _section(group: shown.Group) -> dict[str, Any]:
    first, *others = group
    tables = [table for other in others for table in (shown.table(first, other), shown.parameters(first, other)) if table and table.rows]
    return {"title": " and ".join(one.label for one in group), "curves": _curves(group), "tables": tables}


def _curves(group: shown.Group) -> list[Picture]:
    drawn = {one.label: [one.curve] for one in group if one.curve}
    columns = ("train_loss", "validation_loss") if drawn else ()
    return [Picture(figures.LABELS[column], svg=Markup(figures.svg(figures.training_curves(drawn, [column])))) for column in columns]
