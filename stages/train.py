"""train@RUN: all seeds of a run; one MLflow run with a child per seed."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from picollm import devices, tracking
from picollm.files import write_csv, write_json
from picollm.fingerprint import fingerprint
from picollm.report import figures
from picollm.statistics import summary
from picollm.study import Run, Study
from picollm.tokens import TokenFolder, open_tokens
from picollm.training import checkpoints
from picollm.training.seeds import train_seed

CURVES = ("seed", "step", "tokens", "train_loss", "validation_loss", "lr", "grad_norm")  # no timings: they would differ from run to run


def main(study: Study, name: str) -> None:
    run = study.run(name)
    tokens = open_tokens(Path("data/tokens") / run.task)
    out = Path("data/checkpoints") / name
    results = train_seeds(study, run, name, "train", tokens, out)
    write_json(out / "run.json", {"run": name, "seeds": sorted(results)})
    rows = [{"seed": seed, **row} for seed, result in results.items() for row in result["rows"]]
    write_csv(Path(f"plots/train/{name}.csv"), CURVES, rows)
    write_json(Path(f"metrics/train/{name}.json"), metrics(study, run, name, results))


def train_seeds(
    study: Study, run: Run, name: str, stage: str, tokens: TokenFolder, out: Path | None = None, tags: dict[str, str] | None = None
) -> dict[int, dict[str, Any]]:
    """Train the run's seeds; their results with their fingerprint. Checkpoints go below `out`, when they are to be kept."""
    mark = fingerprint({"name": name, **decisive(study, run)}, tokens.digest)
    work = tracking.root() / ".resume" / f"{stage}-{name}-{mark}"
    if run.seeds == 0:
        return {}
    work.parent.mkdir(exist_ok=True)
    with FileLock(f"{work}.lock"):  # two queued experiments may want the very same training
        return _train_seeds(study, run, name, stage, tokens, out, mark, work, tags or {})


def _train_seeds(
    study: Study, run: Run, name: str, stage: str, tokens: TokenFolder, out: Path | None, mark: str, work: Path, tags: dict[str, str]
) -> dict[int, dict[str, Any]]:
    device = devices.prepare(study.device, study.threads)
    tags = {"picollm.task": run.task, "picollm.budget": study.budget, **tags}
    common: dict[str, Any] = {"experiment": run.task, "stage": stage, "parameters": {**decisive(study, run), "budget": study.budget}}
    results = {}
    with tracking.run(name, fingerprint=mark, memory=work / "mlflow", tags=tags, system_metrics=True, **common) as parent:
        profile = {name: entry["tokens"] for name, entry in tokens.header["splits"].items()}
        parent.dataset(run.task, tokens.digest, str(tokens.folder), profile)
        for seed in range(run.seeds):
            folder = work / f"seed{seed}"
            seed_common = {**common, "stage": f"{stage}-seed", "parent": parent.id, "tags": {**tags, "picollm.seed": str(seed)}}
            with tracking.run(f"{name} seed {seed}", fingerprint=f"{mark}-{seed}", memory=folder / "mlflow", **seed_common) as child:
                result = train_seed(run, name, tokens, seed, mark, device, folder, child.rows)
                child.dataset(run.task, tokens.digest, str(tokens.folder), profile)
                child.artifacts(folder / "checkpoint", "checkpoint")
                if out:
                    checkpoints.copy(folder / "checkpoint", out / f"seed{seed}")
                results[seed] = {**result, "fingerprint": mark}
        parent.metrics({f"{key}_mean": value["mean"] for key, value in summaries(results).items()} | {"parameters": results[0]["parameters"]})
        figures.save(figures.training_curves({name: [result["rows"] for result in results.values()]}), work / "curves.png")
        parent.artifacts(work / "curves.png", "figures")
    shutil.rmtree(work)
    return results


def decisive(study: Study, run: Run) -> dict[str, Any]:
    """All that decides the weights, beside data and code."""
    return {**asdict(run), "device": study.device, "threads": study.threads}


def last(result: dict[str, Any], key: str) -> float:
    return float(result["rows"][-1][key])


def summaries(results: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {key: summary([last(result, key) for result in results.values()]) for key in ("train_loss", "validation_loss")} if results else {}


def metrics(study: Study, run: Run, name: str, results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(results.values()), {"parameters": 0, "steps": 0, "tokens": 0})
    return {
        "run": name,
        "task": run.task,
        "budget": study.budget,
        **{key: first[key] for key in ("parameters", "steps", "tokens")},
        "fingerprints": {str(seed): result["fingerprint"] for seed, result in results.items()},
        "seeds": {str(seed): {key: last(result, key) for key in ("train_loss", "validation_loss")} for seed, result in results.items()},
        "summary": summaries(results),
    }
