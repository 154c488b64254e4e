"""evaluate@RUN: every seed on the test sets and on longer sequences, against the floor; samples of a language model."""

from pathlib import Path
from typing import Any

from picollm import devices, registry, tracking
from picollm.config import parse
from picollm.files import write_csv, write_json
from picollm.generation.samples import Samples, sample_all
from picollm.report import figures
from picollm.study import Study
from picollm.tokens import open_tokens
from picollm.training.checkpoints import load_model, read_config, seeds_of


def main(study: Study, name: str) -> None:
    task = study.run(name).task
    device = devices.prepare(study.device, study.threads)
    raw, tokens = Path("data/raw") / task, open_tokens(Path("data/tokens") / task)
    evaluation = registry.load("evaluation", tokens.header["kind"], f"tasks.{task}.kind")
    checkpoints = Path("data/checkpoints") / name
    seeds: dict[int, Any] = {}
    samples: list[dict[str, str]] = []
    for seed, folder in seeds_of(checkpoints).items():
        model = load_model(folder).to(device)
        seeds[seed] = evaluation.evaluate(model, tokens, raw, read_config(folder)["context"])
        if tokens.header["kind"] == "text" and not samples:
            samples = sample_all(model, tokens.header["tokenizer"], parse(Samples, study.params["samples"], "samples"))

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
    summary = evaluation.summaries(seeds) if seeds else {}
    common = {"run": name, "task": task, "kind": tokens.header["kind"], "budget": study.budget}
    by_seed = {str(seed): {key: value for key, value in result.items() if key != "positions"} for seed, result in seeds.items()}  # they are a table
    write_json(Path(f"metrics/evaluate/{name}.json"), {**common, "summary": summary, "seeds": by_seed})
    if seeds:
        tracking.child(name, task, "evaluate", read_config(checkpoints / "seed0")["fingerprint"], {key: value["mean"] for key, value in summary.items()}, plots)
