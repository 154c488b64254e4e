"""What is asked of the store about trainings: their last values and curves, and how long they took. Nothing is written, no store is made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from picollm.tracking.store import store_uri


@dataclass(frozen=True)
class Curves:
    """The points of a seed's run."""

    seed: str
    rows: dict[int, dict[str, float]]  # step -> {metric: value}


@dataclass(frozen=True)
class Found:
    experiment: str  # its id
    run: str  # its id
    seeds: list[Curves]


TIMED = ("tokens", "tokens_per_second", "validation_loss")


def stored(run_id: str) -> dict[str, Any] | None:
    """{"name", "parameters": {dotted: text}, "values": {metric: {seed: last value}}, "curve": rows} of a training's run with the runs of its seeds,
    or of one of these; None where there is no such run, or no store."""
    client = _client()
    if client is None:
        return None
    try:
        found = client.get_run(run_id)
    except MlflowException:
        return None
    below = client.search_runs([found.info.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run_id}'")
    seeds = sorted((run for run in [found, *below] if "picollm.seed" in run.data.tags), key=lambda run: int(run.data.tags["picollm.seed"]))
    values: dict[str, dict[str, float]] = {}
    curve: dict[tuple[str, int], dict[str, Any]] = {}
    for run in seeds or [found]:
        seed = run.data.tags.get("picollm.seed", "0")
        for name, value in run.data.metrics.items():
            if not name.startswith("system/"):
                values.setdefault(name, {})[seed] = value
        for name in ("train_loss", "validation_loss"):
            for point in client.get_metric_history(run.info.run_id, name):
                curve.setdefault((seed, point.step), {"seed": seed, "step": point.step})[name] = point.value
    for run in below:
        if run.data.tags.get("picollm.stage") == "evaluate":  # which counts where training measured the same; MLflow has its means alone
            values |= {name: {"mean": value} for name, value in run.data.metrics.items()}
    return {"name": found.info.run_name, "parameters": dict(found.data.params), "values": values, "curve": list(curve.values())}


def newest(name: str, experiment: str) -> Found | None:
    """The newest finished training of a run, or of a cell of a sweep, with what tells the time of its seeds; None without one, or without a store."""
    client = _client()
    known = client.get_experiment_by_name(experiment) if client else None
    if client is None or known is None:
        return None
    # the runs of its seeds, and of what looks at it, have longer names
    where = f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'"
    parents = client.search_runs([known.experiment_id], filter_string=where, order_by=["attributes.start_time DESC"], max_results=1)
    if not parents:
        return None
    run_id = parents[0].info.run_id
    below = client.search_runs([known.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`picollm.seed` != ''")
    seeds = []
    for run in sorted(below, key=lambda run: int(run.data.tags["picollm.seed"])):
        rows: dict[int, dict[str, float]] = {}
        for metric in TIMED:
            for point in client.get_metric_history(run.info.run_id, metric):
                rows.setdefault(point.step, {})[metric] = point.value
        seeds.append(Curves(run.data.tags["picollm.seed"], rows))
    return Found(known.experiment_id, run_id, seeds)


def _client() -> MlflowClient | None:
    uri = store_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None  # a client would make one
    return MlflowClient(uri)
