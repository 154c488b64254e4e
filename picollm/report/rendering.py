"""From data to a page: everything inline, nothing fetched, and no script but the page's own, which its policy names by its hash."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """A template that extends base.html and may use macros.html, with the look and the script of the report."""
    folders = [template.parent, FOLDER]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    css, script = (Markup((FOLDER / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    allowed = f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"
    return environment.get_template(template.name).render(css=css, script=script, allowed=allowed, **values) + "\n"
