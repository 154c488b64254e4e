"""compare: all runs side by side: metrics/compare.json, plots/compare and the report; in MLflow the best model of every task becomes its champion."""

from pathlib import Path

from picollm import tracking
from picollm.core.files import read_json
from picollm.report import tracked
from picollm.report.collect import Task
from picollm.report.compare import compare
from picollm.study import Study


def main(study: Study) -> None:
    tasks = compare({"budget": study.budget, **study.params}, Path(), study.raw)
    tracking.comparison([Path("plots/report.html"), Path("plots/report.md")], read_json(Path("metrics/compare.json")))
    for task in tasks:
        metrics, parameters = tracked.columns(task)
        if metrics:
            tracking.show_first(task.name, metrics, parameters)
        if Path.cwd() == tracking.root():  # an experiment in a folder of its own changes no results of the checkout, and so no champion
            _register(task, study.budget)
    print("report: plots/report.html   numbers: metrics/compare.json   runs: make ui")


def _register(task: Task, budget: str) -> None:
    best = tracked.champion(task)
    if best is None:
        return
    checkpoint = Path("data/checkpoints") / best.run / f"seed{best.seed}"
    config = checkpoint / "config.json"
    if not config.exists() or read_json(config).get("fingerprint") != best.fingerprint:
        print(f"{checkpoint}: is not here, so the champion of {task.name} in MLflow stays as it is; run dvc checkout, then dvc repro -f -s compare")
        return
    tags = {"picollm.run": best.run, "picollm.seed": str(best.seed), "picollm.metric": best.metric, "picollm.budget": budget}
    if tracking.register(task.name, f"{best.fingerprint}-{best.seed}", checkpoint, tags, best.described):
        print(f"models:/{task.name}@champion is {best.described}")
