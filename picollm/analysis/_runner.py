"""Runs the analyses of one model: their numbers are handed back, their figures, tables and arrays written."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from filelock import FileLock

from picollm.analysis._result import Result, Row, Skip, Subject
from picollm.core import registry
from picollm.core.files import atomic, read_json, sha256, write_json, write_text
from picollm.core.fingerprint import code
from picollm.core.parallel import workers
from picollm.report import figures

DPI = 110
DONE = "result.json"  # written last


def run_all(subject: Subject, out: Path, memory: Path | None = None, processes: int = 1) -> dict[str, Any]:
    """{analysis: {"metrics": {name: estimate}, "claims": [sentences], "files": [names in `out`]}}, or {analysis: {"skipped": the reason}}.

    `memory` is a folder where results are kept: an analysis whose code, subject and options are those of before is not run again.
    `processes` do them side by side, each on one thread.
    Raises UserError for options that the task or the model cannot meet.
    """
    assert not subject.model.training, "dropout would make every number a lottery"
    names = registry.names("analysis") if subject.options.analyses is None else subject.options.analyses
    modules = {name: registry.load("analysis", name, "interpret.analyses") for name in names}
    if memory is None:
        with workers(processes) as each:
            return dict(zip(names, each(partial(_run, subject, out), names), strict=True))
    memory.mkdir(parents=True, exist_ok=True)
    with FileLock(memory / "lock"):  # two queued experiments may look into the same run
        folders = {name: memory / f"{name}-{_mark(subject, module, modules.values())}" for name, module in modules.items()}
        with workers(processes) as each:
            each(partial(_remember, subject, folders), folders)
        return {name: _recall(name, folder, out) for name, folder in folders.items()}


def _remember(subject: Subject, folders: Mapping[str, Path], name: str) -> None:
    """Leave what the analysis finds in its folder, unless it is there from a run on all that decides it."""
    if not (folders[name] / DONE).exists():
        write_json(folders[name] / DONE, _run(subject, folders[name], name))


def _recall(name: str, folder: Path, out: Path) -> dict[str, Any]:
    """What the analysis found; its files in `out`, and what it found before removed."""
    for old in folder.parent.glob(f"{name}-*"):
        if old != folder:
            shutil.rmtree(old)
    entry: dict[str, Any] = read_json(folder / DONE)
    for file in entry.get("files", []):
        with atomic(out / file) as temporary:
            shutil.copyfile(folder / file, temporary)
    return entry


def _run(subject: Subject, folder: Path, name: str) -> dict[str, Any]:
    result = registry.load("analysis", name, "interpret.analyses").analyse(subject)
    if isinstance(result, Skip):
        return {"skipped": result.reason}
    claims = [claim.filled(result.metrics) for claim in result.claims]
    return {"metrics": result.metrics, **({"claims": claims} if claims else {}), "files": _write(result, name, folder)}


def _mark(subject: Subject, module: ModuleType, modules: Iterable[ModuleType]) -> str:
    """All that decides what an analysis finds: itself and all code but the other analyses, the models it may look at, the data, the options."""
    others = [other.__name__ for other in modules if other is not module]
    folders = [subject.checkpoint, *subject.others] if subject.checkpoint else []
    files = [path for folder in folders for path in folder.rglob("*.safetensors")]
    files += [path for path in subject.raw.rglob("*") if path.is_file() and not path.name.startswith("train")]  # which is in the tokens' digest
    options = {key: value for key, value in asdict(subject.options).items() if key != "analyses"}
    text = json.dumps([code(without=others), [sha256(path) for path in sorted(files)], subject.tokens.digest, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def text_report(name: str, report: Mapping[str, Any]) -> str:
    """All claims, analysis by analysis, and what was not looked at and why; as Markdown."""
    lines = [f"# {name}: what is inside"]
    for analysis, entry in report.items():
        claims = entry.get("claims", [])
        if claims:
            lines += ["", f"## {analysis.replace('_', ' ')}", "", *(f"- {claim}" for claim in claims)]
    skipped = {analysis: entry["skipped"] for analysis, entry in report.items() if "skipped" in entry}
    if skipped:
        lines += ["", "## Not looked at", "", *(f"- {analysis.replace('_', ' ')}: {reason}" for analysis, reason in skipped.items())]
    return "\n".join(lines) + "\n"


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
