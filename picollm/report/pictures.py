"""What a page shows: drawings that answer to a pointer, and PNG files as data URIs until the page is full."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from picollm.report import figures, hover

LIMIT = 6_000_000  # characters of pictures: the whole page stays below 10 MB


@dataclass(frozen=True)
class Picture:
    """A drawing inside the page: inline SVG with the lines that a pointer can ask for, or a PNG as a data URI. Empty: left out to keep the page small."""

    title: str
    svg: str = ""
    uri: str = ""
    lines: str = ""  # JSON


class Pictures:
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


def drawing(title: str, figure: Figure) -> Picture:
    drawn = Markup(figures.svg(figure))  # before its lines are asked for: it lays the figure out
    return Picture(title, svg=drawn, lines=json.dumps(hover.lines(figure), ensure_ascii=False, separators=(",", ":")))
