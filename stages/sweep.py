"""sweep@NAME: one run trained at every point of a grid, and the figure that shows what the grid changes."""

from functools import partial
from pathlib import Path
from typing import Any

from picollm import devices
from picollm.files import write_json
from picollm.parallel import share, workers
from picollm.report import figures
from picollm.statistics import summary
from picollm.study import Study
from picollm.tokens import TokenFolder, open_tokens
from picollm.training.recipe import Run
from stages.train import last, train_seeds


def main(study: Study, name: str) -> None:
    sweep, cells = study.sweep(name)
    tokens = open_tokens(Path("data/tokens") / sweep.task)
    at_once, threads = share(study.threads, len(cells), devices.resolve(study.device).type)
    with workers(at_once) as each:
        measured = [cell for cell in each(partial(_measure, Study({**study.raw, "threads": threads}), name, tokens), cells) if cell]
    folder = Path("plots/sweep") / name
    folder.mkdir(parents=True, exist_ok=True)
    if measured:
        figures.save(figures.sweep(list(sweep.grid), measured), folder / "validation_loss.png")
    write_json(Path(f"metrics/sweep/{name}.json"), {"run": sweep.run, "task": sweep.task, "budget": study.budget, "cells": measured})


def _measure(study: Study, name: str, tokens: TokenFolder, cell: tuple[dict[str, Any], Run]) -> dict[str, Any] | None:
    """All seeds at one point of the grid; None for a sweep that is not part of the budget."""
    point, run = cell
    label = name + "".join(f" {key.split('.')[-1]}={value}" for key, value in point.items())
    results = train_seeds(study, run, label, "sweep", tokens, tags={"picollm.sweep": name})
    if not results:
        return None
    losses = {key: summary([last(result, key) for result in results.values()]) for key in ("train_loss", "validation_loss")}
    return {"point": point, **losses, "parameters": results[0]["parameters"]}
