"""What a page shows: drawings that answer to a pointer, and PNG files as far as there is room for them."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from picollm.report import figures, hover

LIMIT = 7_000_000  # characters of PNG files in a page, which stays below 10 MB


@dataclass(frozen=True)
class Picture:
    """A drawing inside the page: inline SVG with the lines that a pointer can ask for, or a PNG as a data URI."""

    title: str
    svg: str = ""
    uri: str = ""
    lines: str = ""  # JSON


def fitting(paths: Sequence[Path], room: int) -> list[Picture]:
    """The first PNG files that fit into so many characters, as data URIs."""
    found = []
    for path in paths:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        if len(data) <= room:
            room -= len(data)
            found.append(Picture(path.stem.replace("_", " "), uri=f"data:image/png;base64,{data}"))
    return found


def drawing(title: str, figure: Figure) -> Picture:
    drawn = Markup(figures.svg(figure))  # before its lines are asked for: it lays the figure out
    return Picture(title, svg=drawn, lines=json.dumps(hover.lines(figure), ensure_ascii=False, separators=(",", ":")))
