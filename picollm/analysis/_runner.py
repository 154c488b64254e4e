"""Runs the analyses of one model: their numbers are handed back, their figures, tables and arrays written."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from picollm.analysis._options import Options
from picollm.analysis._result import Result, Row, Skip, Subject
from picollm.core import registry
from picollm.core.files import atomic, write_text
from picollm.core.tokens import TokenFolder
from picollm.models import Model
from picollm.report import figures

DPI = 110


def run_all(model: Model, tokens: TokenFolder, raw: Path, options: Options, out_plots: Path) -> dict[str, Any]:
    """{analysis: {"metrics": {name: estimate}, "files": [names in out_plots]}}, or {analysis: {"skipped": the reason}}.

    `model` is in evaluation mode; `raw` is the task's folder of raw data. Raises UserError for options that the task or
    the model cannot meet.
    """
    assert not model.training, "dropout would make every number a lottery"
    subject = Subject(model, tokens, raw, options)
    report: dict[str, Any] = {}
    for name in registry.names("analysis") if options.analyses is None else options.analyses:
        result = registry.load("analysis", name, "interpret.analyses").analyse(subject)
        report[name] = {"skipped": result.reason} if isinstance(result, Skip) else {"metrics": result.metrics, "files": _write(result, name, out_plots)}
    return report


def _write(result: Result, analysis: str, folder: Path) -> list[str]:
    written: list[Path] = []

    def target(name: str, suffix: str) -> Path:
        written.append(folder / f"{analysis}{'_' if name else ''}{name}.{suffix}")
        return written[-1]

    for name, figure in result.figures.items():
        figures.save(figure, target(name, "png"), dpi=DPI)
    for name, rows in result.tables.items():
        write_text(target(name, "csv"), _csv(rows))
    for name, arrays in result.arrays.items():
        with atomic(target(name, "npz")) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    return [path.name for path in written]


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float | np.floating) else value for key, value in row.items()})
    return text.getvalue()
