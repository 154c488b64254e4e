"""evaluate@RUN: every seed on the test sets and on longer sequences, against the floor; samples of a language model, and what they measure."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from picollm import tracking
from picollm.core import devices, registry
from picollm.core.config import parse
from picollm.core.files import write_csv, write_json, write_record
from picollm.core.parallel import share, workers
from picollm.core.tokens import TokenFolder, open_tokens
from picollm.generation import measured
from picollm.generation.samples import Samples, sample_all, sample_epochs
from picollm.report import figures
from picollm.study import Study
from picollm.training.checkpoints import load_model, read_config, seeds_of


def main(study: Study, name: str) -> None:
    task = study.run(name).task
    raw, tokens = Path("data/raw") / task, open_tokens(Path("data/tokens") / task)
    evaluation = registry.load("evaluation", tokens.header["kind"], f"tasks.{task}.kind")
    checkpoints = Path("data/checkpoints") / name
    folders = seeds_of(checkpoints)
    at_once, threads = share(study.threads, len(folders), devices.resolve(study.device).type)
    asked = parse(Samples, study.params["samples"], "samples") if tokens.header["kind"] == "text" else None
    with workers(at_once) as each:
        seeds: dict[int, Any] = dict(
            zip(folders, each(partial(_evaluate, study.device, threads, evaluation.evaluate, tokens, raw, asked), folders.values()), strict=True)
        )
    samples: list[dict[str, str]] = []
    after_epochs: list[dict[str, Any]] = []
    if folders and asked:
        first, device = folders[min(folders)], devices.prepare(study.device, study.threads)
        samples = sample_all(load_model(first).to(device), read_config(first, "tokenizer", "whole"), asked)
        after_epochs = sample_epochs(first, lambda epoch: load_model(epoch).to(device), asked)
    texts = {seed: result.pop("samples") for seed, result in seeds.items() if "samples" in result}

    plots = Path("plots/evaluate") / name
    plots.mkdir(parents=True, exist_ok=True)
    if seeds:
        tables = {table: rows for table, rows in evaluation.tables(seeds).items() if rows}
        for table, rows in tables.items():
            write_csv(plots / f"{table}.csv", list(rows[0]), rows)
        if "length" in tables:
            figures.save(figures.lengths({name: tables["length"]}), plots / "length.png")
    if samples:
        write_json(plots / "samples.json", samples)
    if after_epochs:
        write_json(plots / "epochs.json", after_epochs)
    if any(texts.values()):
        sampling = [{"seed": seed, **row} for seed, own in texts.items() for row in own]
        write_csv(plots / "sampling.csv", list(sampling[0]), sampling)
    summary = evaluation.summaries(seeds) if seeds else {}
    common = {"run": name, "task": task, "kind": tokens.header["kind"], "budget": study.budget}
    by_seed = {str(seed): {key: value for key, value in result.items() if key != "positions"} for seed, result in seeds.items()}  # they are a table
    told = {"samples": measured.summaries(texts)} if texts else {}
    write_record(Path(f"metrics/evaluate/{name}.json"), {**common, "summary": summary, "seeds": by_seed, **told})
    if seeds:
        tracking.child(name, task, "evaluate", read_config(checkpoints / "seed0")["fingerprint"], {key: value["mean"] for key, value in summary.items()}, plots)


def _evaluate(
    device: str, threads: int, evaluate: Callable[..., dict[str, Any]], tokens: TokenFolder, raw: Path, asked: Samples | None, checkpoint: Path
) -> dict[str, Any]:
    """All figures of one seed; those of its samples, where some are asked for, under "samples"."""
    model = load_model(checkpoint).to(devices.prepare(device, threads))
    result = evaluate(model, tokens, raw, read_config(checkpoint, "context")["context"])
    return {**result, "samples": measured.measure_all(model, tokens, asked)} if asked else result
