"""sweep@NAME: a run, or each model of a group of variants, trained at every point of a grid and evaluated."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from picollm.blocks import Sweep
from picollm.core.config import parse
from picollm.core.files import write_record
from picollm.core.tokens import open_tokens
from picollm.study import Study


def main(study: Study, name: str) -> None:
    plots = Path("plots/sweep") / name
    plots.mkdir(parents=True, exist_ok=True)
    sweep = parse(Sweep, study.entry("sweeps", name), f"sweeps.{name}")
    tokens = open_tokens(Path("data/tokens") / sweep.task)
    facts = {"base": sweep.base, "task": sweep.task, "kind": tokens.header["kind"], "budget": study.budget}
    with _cells(study, name, plots) if sweep.seeds else nullcontext([]) as cells:
        write_record(Path(f"metrics/sweep/{name}.json"), {**facts, "cells": cells})


def _cells(study: Study, name: str, plots: Path) -> AbstractContextManager[list[dict[str, Any]]]:
    """Imported here: it takes seconds, and a budget leaves most sweeps out."""
    from stages.cells import measured

    return measured(study, name, plots)
