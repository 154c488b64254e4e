"""How long every stage took when it last ran: by the clock of `study`, which notes all of them, or else by MLflow, which knows trainings.

MLflow's tables are read as they are: its own client takes two seconds to start.
"""

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from picollm.core.files import read_json, write_json

NOTES = Path(".dvc/tmp/picollm-seconds.json")
QUERY = """
    SELECT stage.value, runs.name, runs.start_time / 1000.0, runs.end_time / 1000.0 FROM runs
    JOIN tags AS stage ON stage.run_uuid = runs.run_uuid AND stage.key = 'picollm.dvc_stage'
    JOIN tags AS kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'picollm.stage' AND kind.value IN ('train', 'sweep')
    WHERE runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active' ORDER BY runs.end_time
"""


def note(seconds: Mapping[str, float]) -> None:
    """Keep what `study` has measured."""
    if not seconds:
        return
    now = round(time.time(), 1)
    write_json(NOTES, {**_notes(), **{stage: {"seconds": round(value, 3), "ended": now} for stage, value in seconds.items()}})


def durations() -> dict[str, float]:
    """{stage: seconds} of its last run that anything knows of."""
    found = _logged()
    for stage, entry in _notes().items():
        if stage not in found or entry["ended"] + 60 > found[stage][1]:  # MLflow's run ends within the stage, `study` notes it after
            found[stage] = (entry["seconds"], entry["ended"])
    return {stage: seconds for stage, (seconds, _) in found.items()}


def _notes() -> dict[str, Any]:
    return dict(read_json(NOTES)) if NOTES.exists() else {}


def _logged() -> dict[str, tuple[float, float]]:
    """{stage: (seconds, end)}: for how long any of its runs was at work, each in its newest version; runs of a sweep go side by side."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.exists():
        return {}  # a server is not asked: its answers could take long
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(QUERY).fetchall()
    except sqlite3.DatabaseError:  # being made, or of an MLflow with other tables
        return {}
    newest: dict[str, dict[str, tuple[float, float]]] = {}
    for stage, run, start, end in rows:
        newest.setdefault(stage, {})[run] = (start, end)
    return {stage: (covered(list(spans.values())), max(end for _, end in spans.values())) for stage, spans in newest.items()}


def covered(spans: list[tuple[float, float]]) -> float:
    """How much time lies in at least one of some spans (start, end)."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
