"""The stages of dvc.yaml as DVC sees them: one for every task, run or sweep of params.yaml, and who needs whose results.

Read here because asking DVC takes ten seconds, of which this takes one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picollm.core.config import read
from picollm.core.errors import UserError
from picollm.plans import FOLDER

PIPELINE = Path("dvc.yaml")
FORESEEN = {str(FOLDER)}  # what the check will write is known before it runs


@dataclass(frozen=True)
class Stage:
    name: str  # train@classic_linear
    section: str  # of params.yaml, whose entries the stage has one each of; "" for a stage alone
    command: str
    params: tuple[str, ...]  # dotted
    deps: tuple[str, ...]
    outs: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def key(self) -> str:
        return self.name.partition("@")[2]


def stages(params: dict[str, Any]) -> dict[str, Stage]:
    """{name: stage} in the order of dvc.yaml. `params` is the whole of params.yaml, as it is written."""
    found = {}
    for kind, block in read(PIPELINE)["stages"].items():
        section = block["foreach"].strip("${}") if "foreach" in block else ""
        for key in (params.get(section) or {}) if section else [""]:
            name = f"{kind}@{key}" if key else kind
            found[name] = _stage(name, section, block.get("do", block), {"key": key, "item": (params.get(section) or {}).get(key)})
    return found


def _stage(name: str, section: str, block: dict[str, Any], values: dict[str, Any]) -> Stage:
    def paths(*kinds: str) -> tuple[str, ...]:
        entries = (entry for kind in kinds for entry in block.get(kind, []))
        return tuple(_filled(entry if isinstance(entry, str) else next(iter(entry)), values) for entry in entries)

    return Stage(name, section, _filled(block["cmd"], values), paths("params"), paths("deps"), paths("outs", "metrics", "plots"))


def _filled(text: str, values: dict[str, Any]) -> str:
    """`text` with ${key} and ${item.model.kind} replaced."""

    def value(match: re.Match[str]) -> str:
        found: Any = values
        for part in match[1].split("."):
            if not isinstance(found, dict) or part not in found:
                raise UserError(f"{PIPELINE}: ${{{match[1]}}} stands for nothing in the entry {values['key']} of params.yaml; add it there")
            found = found[part]
        return str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def needs(stages: Iterable[Stage]) -> dict[str, set[str]]:
    """{name: the stages whose results it reads, and that can change them}."""
    makers = {out: stage.name for stage in stages for out in stage.outs if out not in FORESEEN}
    return {stage.name: {makers[out] for dep in stage.deps for out in makers if _overlap(dep, out)} for stage in stages}


def _overlap(a: str, b: str) -> bool:
    return f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")
