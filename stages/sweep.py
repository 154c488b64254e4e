"""sweep@NAME: one run trained at every point of a grid, and the figure that shows what the grid changes."""

from pathlib import Path
from typing import Any

from picollm.files import write_json
from picollm.report import figures
from picollm.statistics import summary
from picollm.study import Study
from picollm.tokens import open_tokens
from stages.train import last, train_seeds


def main(study: Study, name: str) -> None:
    sweep, cells = study.sweep(name)
    tokens = open_tokens(Path("data/tokens") / sweep.task)
    measured: list[dict[str, Any]] = []
    for point, run in cells:
        label = name + "".join(f" {key.split('.')[-1]}={value}" for key, value in point.items())
        results = train_seeds(study, run, label, "sweep", tokens, tags={"picollm.sweep": name})
        if results:
            losses = {key: summary([last(result, key) for result in results.values()]) for key in ("train_loss", "validation_loss")}
            measured.append({"point": point, **losses, "parameters": results[0]["parameters"]})
    folder = Path("plots/sweep") / name
    folder.mkdir(parents=True, exist_ok=True)
    if measured:
        figures.save(figures.sweep(list(sweep.grid), measured), folder / "validation_loss.png")
    write_json(Path(f"metrics/sweep/{name}.json"), {"run": sweep.run, "task": sweep.task, "budget": study.budget, "cells": measured})
