"""From data to a page: everything inline, nothing fetched, and no script but the page's own, which its policy names by its hash."""

import base64
import hashlib
import json
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
    return environment.get_template(template.name).render(css=css, script=script, allowed=named(script), **values) + "\n"


def named(source: str) -> str:
    """How a content security policy names a script or style: by what it holds."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}"


def data(value: Any) -> str:
    """JSON that may stand in a script element: no "<" could end that."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
