"""A checkpoint to look into, with the data of its task as far as that is there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from picollm.analysis._options import Options
from picollm.analysis._result import Subject
from picollm.analysis._runner import run_all
from picollm.core import registry
from picollm.core.errors import UserError
from picollm.core.tokens import TokenFolder, open_tokens
from picollm.training.checkpoints import load_model, read_config, seeds_of

DATA = Path("data")


class _NoSplits(dict[str, Any]):
    """Of a task whose token files are not there."""

    def __missing__(self, name: str) -> Any:
        raise UserError(f"there is no split '{name}'")


def subject_of(checkpoint: Path, options: Options) -> tuple[Subject, str | None]:
    """The subject, and what of its data is missing, None when all is there. Raises UserError for a folder that is no whole checkpoint."""
    facts = read_config(checkpoint, "kind", "tokenizer")
    task = str(facts.get("task", "unknown"))
    tokens, raw, missing = DATA / "tokens" / task, DATA / "raw" / task, None
    absent = [str(folder) for folder in (tokens, raw) if not folder.is_dir()]
    opened = None if absent else open_tokens(tokens)
    if absent:
        missing = f"needs {' and '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not there; run `dvc repro tokenize@{task}`"
    elif opened and opened.header["tokenizer"] != facts["tokenizer"]:
        missing = f"needs the tokens that the model was trained on, and those in {tokens} are of another tokenizer"
    if opened is None or missing:
        header = {name: facts[name] for name in ("kind", "vocab_size", "tokenizer")}
        opened = TokenFolder(tokens, {**header, "splits": _NoSplits()})
    siblings = seeds_of(checkpoint.parent) if (checkpoint.parent / "run.json").exists() else {}
    others = tuple(folder for folder in siblings.values() if folder.resolve() != checkpoint.resolve())
    return Subject(load_model(checkpoint), opened, raw if missing is None else Path("missing"), options, checkpoint, others), missing


def analyses(subject: Subject, missing: str | None, out: Path) -> dict[str, Any]:
    """The report of all analyses that the options name; without its data, one that needs it is skipped."""
    names = registry.names("analysis") if subject.options.analyses is None else subject.options.analyses
    report: dict[str, Any] = {}
    for name in names:
        try:
            report |= run_all(replace(subject, options=replace(subject.options, analyses=[name])), out)
        except UserError:
            if missing is None:
                raise
            report[name] = {"skipped": missing}
    return report
