"""The page of two models: everything inline, nothing fetched, and a policy that lets nothing but its own script and styles run."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from picollm.report import figures

TEMPLATES = Path(__file__).parent
STYLES = Path(figures.__file__).with_name("report.css")  # the same look as the report's
SCRIPTS = ("dom", "colours", "maps", "thumbnails", "matrix", "flow", "lens", "page")  # in the order in which they need each other
STOPS = 33  # of a palette; between them colours are mixed
PALETTES = {
    "plain": "viridis",
    "signed_light": "PuOr",
    "signed_dark": "berlin_r",
}  # for the colour-blind too; each has its neutral middle in the colour of the page


def html(page: dict[str, Any]) -> str:
    """What `collect` found, as a page."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["hash"] = _hash
    # A "<" could end the element that the data stands in.
    data = json.dumps({**page, "palettes": _palettes()}, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    css = "".join(path.read_text(encoding="utf-8") for path in (STYLES, TEMPLATES / "page.css"))
    parts = "".join((TEMPLATES / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{{\n{parts}}}\n'
    return environment.get_template("page.html").render(page=page, data=Markup(data), css=Markup(css), script=Markup(script)) + "\n"


def _hash(source: str) -> str:
    """How a content security policy names a script or style by what it holds."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}"


def _palettes() -> dict[str, list[list[int]]]:
    places = np.linspace(0, 1, STOPS)
    return {name: (255 * matplotlib.colormaps[palette](places)[:, :3]).round().astype(int).tolist() for name, palette in PALETTES.items()}
