"""The page of two models: everything inline, nothing fetched, and a policy that lets nothing but its own script and styles run."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from picollm.report import figures, rendering

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
    environment.filters["hash"] = rendering.named
    data = rendering.data({**page, "palettes": _palettes()})
    css = "".join(path.read_text(encoding="utf-8") for path in (STYLES, TEMPLATES / "page.css"))
    parts = "".join((TEMPLATES / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{{\n{parts}}}\n'
    return environment.get_template("page.html").render(page=page, data=Markup(data), css=Markup(css), script=Markup(script)) + "\n"


def _palettes() -> dict[str, list[list[int]]]:
    places = np.linspace(0, 1, STOPS)
    return {name: (255 * matplotlib.colormaps[palette](places)[:, :3]).round().astype(int).tolist() for name, palette in PALETTES.items()}
