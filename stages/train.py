"""train@RUN: all seeds of a run; one MLflow run with a child per seed."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from picollm import tracking
from picollm.core import devices
from picollm.core.files import write_csv, write_json, write_record
from picollm.core.fingerprint import fingerprint
from picollm.core.parallel import share, workers
from picollm.core.statistics import summary
from picollm.core.tokens import TokenFolder, open_tokens
from picollm.report import figures
from picollm.study import Study
from picollm.training import checkpoints
from picollm.training.recipe import Run
from picollm.training.seeds import train_seed

CURVES = ("seed", "step", "tokens", "train_loss", "validation_loss", "validation_exact", "lr", "grad_norm")  # no timings: they would differ from run to run


def main(study: Study, name: str) -> None:
    run = study.run(name)
    tokens = open_tokens(Path("data/tokens") / run.task)
    out = Path("data/checkpoints") / name
    results: dict[int, dict[str, Any]] = {}
    if run.seeds:
        with trained(study, run, name, "train", tokens, mark_of(study, run, name, tokens)) as done:
            results = done.results
            for seed in results:
                checkpoints.copy(done.checkpoint(seed), out / f"seed{seed}")
    write_json(out / "run.json", {"run": name, "seeds": sorted(results)})
    rows = [{"seed": seed, **row} for seed, result in results.items() for row in result["rows"]]
    write_csv(Path(f"plots/train/{name}.csv"), CURVES, rows)
    write_record(Path(f"metrics/train/{name}.json"), metrics(study, run, name, results))


@dataclass(frozen=True)
class Job:
    """What the seeds of a run have in common."""

    run: Run
    name: str
    stage: str
    tokens: TokenFolder
    fingerprint: str
    work: Path  # where a killed training goes on
    device: str
    at_once: int  # seeds that are trained at the same time
    threads: int  # of each
    parameters: dict[str, Any]  # for MLflow, as are the tags
    tags: dict[str, str]

    def tracked(self, name: str, stage: str, fingerprint: str, folder: Path, **more: Any) -> AbstractContextManager[tracking.Run]:
        common: dict[str, Any] = {"experiment": self.run.task, "stage": stage, "fingerprint": fingerprint, "parameters": self.parameters}
        return tracking.run(name, memory=folder / "mlflow", **common, **more)

    def log_data(self, run: tracking.Run) -> None:
        profile = {name: entry["tokens"] for name, entry in self.tokens.header["splits"].items()}
        run.dataset(self.run.task, self.tokens.digest, str(self.tokens.folder), profile)


@dataclass(frozen=True)
class Trained:
    """All seeds of a run: what `train_seed` says of each, the MLflow run above them, and the folder that holds their checkpoints."""

    results: dict[int, dict[str, Any]]
    parent: tracking.Run
    work: Path

    def checkpoint(self, seed: int) -> Path:
        return self.work / f"seed{seed}/checkpoint"


def mark_of(study: Study, run: Run, name: str, tokens: TokenFolder, **more: Any) -> str:
    """The training's fingerprint. Taken before any worker is forked: what a process has imported by then depends on nothing it did."""
    return fingerprint({"name": name, **decisive(study, run), **more}, tokens.digest)


def resume(stage: str, name: str, mark: str) -> Path:
    """Where a killed training goes on."""
    return tracking.root() / ".resume" / f"{stage}-{name}-{mark}"


@contextmanager
def trained(study: Study, run: Run, name: str, stage: str, tokens: TokenFolder, mark: str, tags: dict[str, str] | None = None) -> Iterator[Trained]:
    """Train the run's seeds; what they left is there, and their MLflow run open, until the block ends."""
    parameters = decisive(study, run)
    work = resume(stage, name, mark)
    work.parent.mkdir(exist_ok=True)
    at_once, threads = share(study.threads, run.seeds, devices.resolve(study.device).type)
    tags = {"picollm.task": run.task, "picollm.budget": study.budget, **(tags or {})}
    job = Job(run, name, stage, tokens, mark, work, study.device, at_once, threads, {**parameters, "budget": study.budget}, tags)
    with FileLock(f"{work}.lock"), workers(at_once) as each:  # the lock: two queued experiments may want the very same training
        with job.tracked(name, stage, mark, work, tags=tags, system_metrics=True) as parent:
            job.log_data(parent)
            results = dict(enumerate(each(partial(_train_seed, job, parent.id), range(run.seeds))))
            parent.metrics({f"{key}_mean": value["mean"] for key, value in summaries(results).items()} | {"parameters": results[0]["parameters"]})
            figures.save(figures.training_curves({name: [result["rows"] for result in results.values()]}), work / "curves.png")
            parent.artifacts(work / "curves.png", "figures")
            yield Trained(results, parent, work)
        shutil.rmtree(work)


def _train_seed(job: Job, parent: str, seed: int) -> dict[str, Any]:
    device = devices.prepare(job.device, job.threads)
    folder = job.work / f"seed{seed}"
    tags = {**job.tags, "picollm.seed": str(seed)}
    with job.tracked(f"{job.name} seed {seed}", f"{job.stage}-seed", f"{job.fingerprint}-{seed}", folder, parent=parent, tags=tags) as child:
        job.log_data(child)
        result = train_seed(job.run, job.name, job.tokens, seed, job.fingerprint, device, folder, child.rows, line=seed % job.at_once)
        child.artifacts(folder / "checkpoint", "checkpoint")
    return {**result, "fingerprint": job.fingerprint}


def decisive(study: Study, run: Run) -> dict[str, Any]:
    """All that decides the weights, beside data and code."""
    return {**asdict(run), "device": study.device, "threads": study.threads}


def last(result: dict[str, Any], key: str) -> float:
    return float(result["rows"][-1][key])


def summaries(results: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Over seeds; steps_to_exact over those alone that ever had no error in the validation set."""
    if not results:
        return {}
    ends = {key: summary([last(result, key) for result in results.values()]) for key in ("train_loss", "validation_loss")}
    first = [min(steps) for result in results.values() if (steps := [row["step"] for row in result["rows"] if row.get("validation_exact") == 1])]
    return {**ends, **({"steps_to_exact": summary(first)} if first else {})}


def metrics(study: Study, run: Run, name: str, results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(results.values()), {"parameters": 0, "steps": 0, "tokens": 0})
    return {
        "run": name,
        "task": run.task,
        "budget": study.budget,
        **{key: first[key] for key in ("parameters", "steps", "tokens")},
        "fingerprints": {str(seed): result["fingerprint"] for seed, result in results.items()},
        "seeds": {str(seed): {key: last(result, key) for key in ("train_loss", "validation_loss")} for seed, result in results.items()},
        **({"sources": {str(seed): result["sources"] for seed, result in results.items()}} if "sources" in first else {}),  # of a mixture, as drawn
        "summary": summaries(results),
    }
