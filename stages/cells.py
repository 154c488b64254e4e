"""The cells of a sweep, trained and evaluated: tables, and what they look like.

A cell that is done leaves its result in `.resume` until the sweep is: a sweep that was killed trains no cell twice.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from picollm.blocks import TRAINED, Cell, Success, Sweep
from picollm.core import devices, registry
from picollm.core.config import parse
from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_json, write_csv, write_json
from picollm.core.parallel import share, workers
from picollm.core.statistics import proportion
from picollm.core.tokens import TokenFolder, open_tokens
from picollm.evaluation import skipped
from picollm.report import figures
from picollm.study import Study, check_equal
from picollm.training.checkpoints import load_model
from stages.train import Trained, last, mark_of, resume, summaries, trained

COLUMNS = ("family", "loss", "floor", "excess", "accuracy")  # of a table over lengths, or what else a task grows by


@contextmanager
def measured(study: Study, name: str, plots: Path) -> Iterator[list[dict[str, Any]]]:
    """What came of every cell, figures and tables in `plots`. When the block ends the sweep is done, and what each cell left for it is removed."""
    sweep, cells = study.sweep(name)
    tokens = open_tokens(Path("data/tokens") / sweep.task)
    if sweep.evaluate:
        registry.load("evaluation", tokens.header["kind"], f"tasks.{sweep.task}.kind")  # before the marks, which see what has been imported
    at_once, threads = share(study.threads, len(cells), devices.resolve(study.device).type)
    shared = Study({**study.raw, "threads": threads})
    # A task of a cell's own is drawn from the same seed by the same code, and is told by its block.
    marks = [
        mark_of(shared, cell.run, f"{name} {cell.label}", tokens, evaluate=sweep.evaluate, **({"block": cell.task} if cell.task else {})) for cell in cells
    ]
    with workers(at_once) as each:
        if not any(cell.task for cell in cells):  # else vocabularies differ, and sizes with them
            each(partial(check_equal, name, sweep, cells), [tokens.vocab_size])  # in a worker, for it computes
        results = each(partial(_measure, shared, name, sweep, tokens), zip(cells, marks, strict=True))

    if sweep.grid:
        figures.save(figures.sweep(list(sweep.grid), results), plots / "validation_loss.png")
    tables = {cell["label"]: cell.pop("tables") for cell in results}
    for axis in sorted({axis for own in tables.values() for axis in own}):
        lines = {label: own.get(axis, []) for label, own in tables.items()}
        rows = [{"label": cell["label"], "variant": cell["variant"], **row} for cell in results for row in lines[cell["label"]]]
        write_csv(plots / f"{axis}.csv", ("label", "variant", "seed", axis, *COLUMNS), rows)
        figures.save(figures.lengths(lines, figures.length_column(rows), x=axis), plots / f"{axis}.png")
    yield [{**cell, **_rate(sweep.success, cell)} for cell in results]
    for cell, mark in zip(cells, marks, strict=True):
        _places(name, cell, mark)[1].unlink(missing_ok=True)


def _places(name: str, cell: Cell, mark: str) -> tuple[Path, Path]:
    """The folder that a cell is trained in, and the cell's result beside it, which stays until the whole sweep is done."""
    work = resume("sweep", f"{name} {cell.label}", mark)
    return work, Path(f"{work}.json")


def _measure(study: Study, name: str, sweep: Sweep, tokens: TokenFolder, job: tuple[Cell, str]) -> dict[str, Any]:
    """All seeds of a cell, trained and evaluated."""
    cell, mark = job
    work, kept = _places(name, cell, mark)
    if work.exists() or not kept.exists():  # killed between the result and the end of its MLflow run, the folder is still there
        raw, tokens = _data(cell, tokens, Path(f"{work}.data"))
        tags = {"picollm.sweep": name, **({"picollm.variant": cell.variant} if cell.variant else {})}
        with trained(study, cell.run, f"{name} {cell.label}", "sweep", tokens, mark, tags) as done:
            result = _result(done)
            if sweep.evaluate:
                _evaluate(study, raw, cell, tokens, done, result)
                done.parent.metrics({metric: value["mean"] for metric, value in result["summary"].items()})
            write_json(kept, {"label": cell.label, "variant": cell.variant, "point": cell.point, "fingerprint": mark, **result})
        shutil.rmtree(f"{work}.data", ignore_errors=True)
    result = read_json(kept)
    if sweep.success and sweep.success.metric not in result["summary"] and not result["skipped"]:
        metric = sweep.success.metric
        raise UserError(f"sweeps.{name}.success.metric: unknown {metric!r} {did_you_mean(metric, result['summary'])}")
    return dict(result)


def _data(cell: Cell, tokens: TokenFolder, folder: Path) -> tuple[Path, TokenFolder]:
    """The raw data and tokens that a cell is trained and evaluated on: its task's, or where the grid changes the task, its own in `folder`."""
    if cell.task is None:
        return Path("data/raw") / cell.run.task, tokens
    module = registry.load("tasks", cell.task["kind"], "kind")
    config = parse(module.Config, cell.task, "task")
    module.generate(config, folder / "raw")
    module.tokenize(config, folder / "raw", folder / "tokens")
    return folder / "raw", open_tokens(folder / "tokens")


def _result(done: Trained) -> dict[str, Any]:
    """What training alone says."""
    first = done.results[0]
    return {
        **{key: first[key] for key in ("parameters", "steps", "tokens")},
        "summary": summaries(done.results),
        "seeds": {str(seed): {key: last(result, key) for key in TRAINED} for seed, result in done.results.items()},
        "tables": {},
        "skipped": [],
    }


def _evaluate(study: Study, raw: Path, cell: Cell, tokens: TokenFolder, done: Trained, result: dict[str, Any]) -> None:
    """Add the evaluation of every seed to `result`. Where training and evaluation both measured something, the evaluation's counts."""
    device = devices.prepare(study.device, study.threads)
    evaluation = registry.load("evaluation", tokens.header["kind"], "kind")
    context = cell.run.training.context
    seeds = {seed: evaluation.evaluate(load_model(done.checkpoint(seed)).to(device), tokens, raw, context) for seed in done.results}
    result["summary"] |= evaluation.summaries(seeds)
    for seed, figures_ in seeds.items():
        result["seeds"][str(seed)] |= {metric: value["mean"] for metric, value in evaluation.summaries({seed: figures_}).items()}
    result["tables"] = {axis: rows for axis, rows in evaluation.tables(seeds).items() if rows and axis != "positions"}
    result["skipped"] = sorted({reason for seed in seeds.values() for reason in skipped(seed).values()})


def _rate(success: Success | None, cell: dict[str, Any]) -> dict[str, Any]:
    """How many seeds reached what the sweep calls a success; nothing where the metric was skipped."""
    values = [seed[success.metric] for seed in cell["seeds"].values() if success and success.metric in seed]
    return {"success": proportion(sum(map(success.holds, values)), len(values))} if success and values else {}
