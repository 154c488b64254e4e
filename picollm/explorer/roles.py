"""What the interpretation of a run found each head to be, as far as it was looked at."""

from pathlib import Path
from typing import Any

from picollm.report import figures

FILE = "head_roles.csv"
SHOWN = ("label", "p", "effect")  # those of its columns that the page shows


def read(folder: Path, checkpoint: Path) -> list[dict[str, Any]]:
    """[{"layer", "head", "label", "p", "effect"}] of plots/interpret/RUN, None for what was not measured; empty where the checkpoint is another
    than the run's first model, which alone is looked into.
    """
    seeds = sorted(checkpoint.parent.glob("seed*"), key=lambda path: int(path.name.removeprefix("seed")))
    if not (folder / FILE).exists() or checkpoint not in seeds[:1]:
        return []
    return [
        {**{name: int(row[name]) for name in ("layer", "head")}, **{name: row.get(name) or None for name in SHOWN}} for row in figures.read_csv(folder / FILE)
    ]
