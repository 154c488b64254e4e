"""What decides each stage beside its data: parameters, at the budget, and code; one file a stage, data/plans/STAGE/NAME.json.

The check writes them all, and a stage of dvc.yaml depends on its own. Named there one by one, parameters and modules took six seconds of every stage:
DVC writes dvc.lock as a whole after each, and reads params.yaml anew for each (docs/design.md). What no plan of a stage names restarts nothing, such as
the values of other budgets, variants that a sweep leaves out, tracking and reports.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from picollm.core.files import sha256, write_text
from picollm.study import Study

FOLDER = Path("data/plans")
COMMON = ("stages/__main__.py", "picollm/__init__.py", "picollm/blocks.py", "picollm/core", "picollm/study.py", "picollm/training/recipe.py")
TEXT = "picollm/tasks/text"  # no part of a training, which reads texts as tokens and knows nothing of what wrote them
TASK = ("picollm/tasks/_config.py", "picollm/tasks/_rows.py", "picollm/tasks/{task}")
DATA = (*COMMON, *TASK, "picollm/tokenizers")
MODEL = ("picollm/models/__init__.py", "picollm/models/{model}.py", "picollm/nn")
MODELS = ("picollm/models", "picollm/nn", "picollm/training")
INSIDE = ("picollm/analysis", "picollm/tasks", "picollm/tokenizers")
TRAINED = ("picollm/training/batches.py", "picollm/training/checkpoints.py")
CODE = {  # what a stage imports; {task} and {model} are kinds
    "generate": ("stages/generate.py", *DATA),
    "tokenize": ("stages/tokenize.py", *DATA),
    "train": ("stages/train.py", *COMMON, *TASK, *MODEL, "picollm/training"),
    "evaluate": ("stages/evaluate.py", *DATA, *MODEL, *TRAINED, "picollm/evaluation", "picollm/generation", TEXT),  # whose grammar judges samples
    "interpret": ("stages/interpret.py", *COMMON, *MODEL, *TRAINED, *INSIDE, "picollm/evaluation"),
    "explore": ("stages/explore.py", *COMMON, *MODELS, *INSIDE, "picollm/explorer"),
    "sweep": ("stages/sweep.py", "stages/cells.py", "stages/train.py", *DATA, *MODELS, "picollm/evaluation"),
}
SECTION = {"generate": "tasks", "tokenize": "tasks", "explore": "pairs", "sweep": "sweeps"}  # of params.yaml, where it is not that of runs


def write(study: Study) -> None:
    for path, text in texts(study):
        write_text(path, text)


def texts(study: Study) -> Iterator[tuple[Path, str]]:
    """(path, text) of every plan. Without torch, as `status` asks for them; raises UserError for an entry that there is not."""
    known = cache(digest)
    for stage in CODE:
        section = SECTION.get(stage, "runs")
        for name in study.params[section]:
            plan = {"parameters": _parameters(study, stage, name), "code": dict(_code(study, stage, study.entry(section, name), known))}
            yield FOLDER / stage / f"{name}.json", json.dumps(plan, indent=1, sort_keys=True) + "\n"


def _parameters(study: Study, stage: str, name: str) -> dict[str, Any]:
    budget = {"budget": study.budget}
    if stage in ("generate", "tokenize"):
        return {**budget, "task": study.entry("tasks", name)}
    if stage in ("interpret", "explore"):
        pair = {"pair": study.entry("pairs", name)} if stage == "explore" else {}
        return {**budget, "device": study.device, "interpret": study.params["interpret"], **pair}
    shared = {**budget, "device": study.device, "threads": study.threads}
    if stage == "train":
        return {**shared, "run": study.entry("runs", name)}
    if stage == "evaluate":
        speaks = _kind(study.entry("tasks", study.entry("runs", name).get("task", ""))) == "text"
        return {**shared, **({"samples": study.params["samples"]} if speaks else {})}
    sweep = study.entry("sweeps", name)
    section, _, key = str(sweep.get("base")).partition(".")
    base = study.entry(section if section in ("runs", "variants") else "runs", key)
    taken = {variant: block for variant, block in base.items() if variant in sweep["only"]} if sweep.get("only") else base
    return {**shared, "sweep": sweep, "base": taken, "task": study.entry("tasks", str(sweep.get("task")))}


def _code(study: Study, stage: str, block: dict[str, Any], known: Callable[[Path], str]) -> Iterator[tuple[str, str]]:
    """(path, digest); a folder has one for all of its files."""
    kinds = {}
    if stage != "explore":  # which looks into models of any kind
        kinds = {"task": _kind(block if SECTION.get(stage) == "tasks" else study.entry("tasks", str(block.get("task")))), "model": _kind(block.get("model"))}
    for path in (named.format(**kinds) for named in CODE[stage]):
        if stage != "train" or path != TEXT:
            yield path, known(Path(path))


def _kind(block: Any) -> str:
    return str(block.get("kind")) if isinstance(block, dict) else ""


def digest(path: Path) -> str:
    """Of a file, or of the names and contents of a folder's files, hidden and compiled ones aside."""
    if path.is_file():
        return sha256(path)
    inner = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
    lines = (f"{file.as_posix()} {sha256(path / file)}\n" for file in inner if not any(part.startswith((".", "__pycache__")) for part in file.parts))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
