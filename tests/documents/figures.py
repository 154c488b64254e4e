"""Figures that a document quotes from the committed metrics, in rows of tables: | what | figure | `FILE`: `KEY/KEY/...` |.

A key such as `label=delta` finds the entry of a list. Keys that lead to a whole estimate quote it with its interval and what its nulls gave.
After results have changed, `python -m tests.documents.figures` writes the figures anew.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picollm.core.files import read_record
from tests.documents.blocks import DOCUMENTS, ROOT

ROW = re.compile(r"^(\| .+? \| )([^|]+?)( %)?( \| `(metrics/[^`]+)`: `([^`]+)` \|)$", re.MULTILINE)
NULL = "_high"  # a null's own name stands before it


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
        value = found(self.file, self.keys)
        return estimated(value) if isinstance(value, dict) else f"{float(value) * (100 if self.percent else 1):,.{self.decimals}f}"


def estimated(estimate: dict[str, Any]) -> str:
    """0.928 (0.911 to 0.946); untrained 0.26 to 0.38."""
    nulls = sorted(name for key in estimate if key.endswith(NULL) and f"{(name := key.removesuffix(NULL))}_low" in estimate)
    ranges = (f"; {null.replace('_', ' ')} {estimate[f'{null}_low']:.2g} to {estimate[null + NULL]:.2g}" for null in nulls)
    return f"{estimate['value']:.3g} ({estimate['low']:.3g} to {estimate['high']:.3g}){''.join(ranges)}"


def found(file: str, keys: str) -> Any:
    value: Any = read_record(ROOT / file)
    for key in keys.split("/"):
        name, equals, wanted = key.partition("=")
        value = next(entry for entry in value if entry[name] == wanted) if equals else value[key]
    return value


def figures(document: Path) -> Iterator[Figure]:
    for _, shown, percent, _, file, keys in ROW.findall(document.read_text()):
        yield Figure(document, shown, len(shown.partition(".")[2]), bool(percent), file, keys)


def renew(document: Path) -> None:
    replaced = {(figure.file, figure.keys): figure.there for figure in figures(document)}
    text = ROW.sub(lambda row: f"{row[1]}{replaced[row[5], row[6]]}{row[3] or ''}{row[4]}", document.read_text())
    document.write_text(text)


if __name__ == "__main__":
    for path in DOCUMENTS:
        renew(path)
