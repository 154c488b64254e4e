"""What is up to date: the files and parameters of every stage against what dvc.lock says they were when it ran.

DVC's own hashes: MD5 of a file, and of a folder the MD5 of the JSON list of its files.
"""

import hashlib
import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import psutil

from picollm import plans
from picollm.commands._graph import Stage, needs
from picollm.core.config import read
from picollm.core.errors import UserError
from picollm.core.files import read_json
from picollm.study import Study

LOCK, IGNORED, LOCKS = Path("dvc.lock"), Path(".dvcignore"), Path(".dvc/tmp/rwlock")
RESUME = Path(".resume")

State = Literal["fresh", "stale", "behind", "begun", "new", "running"]
MEANING: dict[State, str] = {
    "running": "now",
    "begun": "stopped in the middle; goes on there if nothing else has changed",
    "new": "never run",
    "stale": "its files or parameters have changed",
    "behind": "reads what one of those makes, and runs if that comes out differently",
    "fresh": "up to date",
}


def states(stages: dict[str, Stage], params: dict[str, Any]) -> dict[str, State]:
    """{stage: its state}."""
    locked: dict[str, Any] = read(LOCK)["stages"] if LOCK.exists() else {}
    digests, running, begun = Digests(), _running(stages), _begun()
    if any(Path(dep).is_relative_to(plans.FOLDER) for stage in stages.values() for dep in stage.deps):
        digests.known |= {path: _md5(text.encode()) for path, text in plans.texts(Study(params))}
    found: dict[str, State] = {}
    for name, stage in stages.items():
        if name in running:
            found[name] = "running"
        elif name not in locked:
            found[name] = "begun" if name in begun else "new"
        elif _changed(stage, locked[name], params, digests):
            found[name] = "begun" if name in begun else "stale"
        else:
            found[name] = "fresh"
    upstream = needs(stages.values())
    waiting = {name for name, state in found.items() if state != "fresh"}
    while more := {name for name, needed in upstream.items() if name not in waiting and needed & waiting}:
        waiting |= more
    return {name: "behind" if state == "fresh" and name in waiting else state for name, state in found.items()}


def _changed(stage: Stage, locked: dict[str, Any], params: dict[str, Any], digests: "Digests") -> bool:
    """What a stage has ceased to name does not count, as it does not for DVC."""
    known = {name: value for block in locked.get("params", {}).values() for name, value in block.items()}
    if stage.command != locked["cmd"] or any(name not in known or known[name] != _at(params, name) for name in stage.params):
        return True
    for paths, entries in ((stage.deps, locked.get("deps", [])), (stage.outs, locked.get("outs", []))):
        before = {entry["path"]: entry for entry in entries}
        if any(path not in before or digests.differs(path, before[path]) for path in paths):
            return True
    return False


def _at(params: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        params = params.get(key) if isinstance(params, dict) else None
    return params


class Digests:
    """Hashes of files and folders, each computed once."""

    def __init__(self) -> None:
        lines = IGNORED.read_text(encoding="utf-8").splitlines() if IGNORED.exists() else []
        self.ignored = [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
        self.known: dict[Path, str | None] = {}

    def differs(self, path: str, locked: dict[str, Any]) -> bool:
        return self.of(Path(path)) != locked.get("md5")

    def of(self, path: Path) -> str | None:
        """None for what is not there."""
        if path not in self.known:
            self.known[path] = self._folder(path) if path.is_dir() else _file(path) if path.exists() else None
        return self.known[path]

    def _folder(self, folder: Path) -> str:
        files = [path for path in folder.rglob("*") if path.is_file() and not self._ignores(path.relative_to(folder))]
        entries = sorted(({"md5": self.of(path), "relpath": path.relative_to(folder).as_posix()} for path in files), key=lambda entry: str(entry["relpath"]))
        return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"

    def _ignores(self, path: Path) -> bool:
        """By the names in .dvcignore; patterns with folders in them are not understood, and none is there."""
        return any(fnmatch(part, pattern) for part in path.parts for pattern in self.ignored)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _running(stages: dict[str, Stage]) -> set[str]:
    """Those whose results a living process has locked for writing."""
    try:
        held = read_json(LOCKS) if LOCKS.exists() else {}
    except UserError:  # DVC is writing it just now
        held = {}
    writing = {Path(path) for path, holder in held.get("write", {}).items() if psutil.pid_exists(int(holder["pid"]))}
    return {stage.name for stage in stages.values() if any(Path(out).resolve() in writing for out in stage.outs)}


def _begun() -> set[str]:
    """Trainings and sweeps of which something is saved to go on from."""
    names = (re.match(r"(train)-(.+)-[0-9a-f]{16}$|(sweep)-([^ ]+) ", path.name) for path in RESUME.glob("*/"))
    return {"@".join(part for part in match.groups() if part) for match in names if match}
