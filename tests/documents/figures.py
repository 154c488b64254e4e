"""Figures that a document quotes from the committed metrics, in rows of tables: | what | figure | `FILE`: `KEY/KEY/...` |.

A key such as `label=delta` finds the entry of a list. After results have changed, `python -m tests.documents.figures` writes the figures anew.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picollm.core.files import read_record
from tests.documents.blocks import DOCUMENTS, ROOT

ROW = re.compile(r"^(\| .+? \| )(-?[\d,]+(?:\.(\d+))?)( %)?( \| `(metrics/[^`]+)`: `([^`]+)` \|)$", re.MULTILINE)


@dataclass(frozen=True)
class Figure:
    document: Path
    shown: str
    decimals: int
    percent: bool
    file: str
    keys: str

    @property
    def there(self) -> str:
        """What stands in the metrics, as it would be shown."""
        return f"{found(self.file, self.keys) * (100 if self.percent else 1):,.{self.decimals}f}"


def found(file: str, keys: str) -> float:
    value: Any = read_record(ROOT / file)
    for key in keys.split("/"):
        name, equals, wanted = key.partition("=")
        value = next(entry for entry in value if entry[name] == wanted) if equals else value[key]
    return float(value)


def figures(document: Path) -> Iterator[Figure]:
    for _, shown, decimals, percent, _, file, keys in ROW.findall(document.read_text()):
        yield Figure(document, shown, len(decimals), bool(percent), file, keys)


def renew(document: Path) -> None:
    replaced = {(figure.file, figure.keys): figure.there for figure in figures(document)}
    text = ROW.sub(lambda row: f"{row[1]}{replaced[row[6], row[7]]}{row[4] or ''}{row[5]}", document.read_text())
    document.write_text(text)


if __name__ == "__main__":
    for path in DOCUMENTS:
        renew(path)
