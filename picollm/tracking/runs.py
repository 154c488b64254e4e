"""Runs of MLflow: what training and the stages after it write into them, and what is read back."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from picollm.core.files import read_record, write_text
from picollm.tracking.store import experiment_of, open_store, store_uri


class Run:
    """A run of the store that is being written to."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self.rows([{"step": step, **values}])

    def rows(self, rows: list[dict[str, float]]) -> None:
        """Points of curves, each with its `step`; in batches, as single calls cost 20 ms each."""
        now = int(time.time() * 1000)
        metrics = [Metric(key, float(value), now, int(row["step"])) for row in rows for key, value in row.items() if key != "step"]
        for start in range(0, len(metrics), 1000):  # MLflow's limit
            self.client.log_batch(self.id, metrics=metrics[start : start + 1000])

    def artifacts(self, path: Path, folder: str | None = None) -> None:
        """A file, or what a folder holds, under the name `folder` in the run."""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), folder)
        else:
            self.client.log_artifact(self.id, str(path), folder)

    def dataset(self, name: str, digest: str, source: str, profile: dict[str, Any]) -> None:
        """The data the run was trained on, by its hash (`mlflow.data`)."""
        entity = Dataset(name=name, digest=digest[:36], source_type="local", source=json.dumps({"uri": source}), profile=json.dumps(profile))
        self.client.log_inputs(self.id, [DatasetInput(dataset=entity)])


@contextmanager
def run(
    name: str,
    *,
    experiment: str,
    stage: str,
    fingerprint: str,
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
    memory: Path | None = None,
    system_metrics: bool = False,
) -> Iterator[Run]:
    """Open a run; it ends FINISHED, or FAILED when the block raises.

    `memory` is a file that keeps the run's id while the work lasts: after a kill the same run is continued.
    """
    client = open_store()
    experiment_id = experiment_of(client, experiment)
    run_id = _continued(client, memory)
    if run_id is None:
        all_tags = {"picollm.stage": stage, "picollm.fingerprint": fingerprint, **_origin(), **(tags or {})}
        if parent:
            all_tags["mlflow.parentRunId"] = parent
        run_id = client.create_run(experiment_id, run_name=name, tags=all_tags).info.run_id
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flat(parameters or {}).items()])
        if memory:
            write_text(memory, run_id)
    tracked = Run(client, run_id)
    try:
        with _system_metrics(run_id) if system_metrics else _nothing():
            yield tracked
    except BaseException as error:
        client.set_tag(run_id, "picollm.error", f"{type(error).__name__}: {error}"[:500])
        client.set_terminated(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _continued(client: MlflowClient, memory: Path | None) -> str | None:
    if memory is None or not memory.exists():
        return None
    run_id = memory.read_text(encoding="utf-8").strip()
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException:  # the store was deleted meanwhile
        return None
    client.log_batch(run_id, tags=[RunTag("picollm.resumed", "true")])
    return run_id


def find(fingerprint: str, stage: str) -> str | None:
    """The newest finished run of a stage with this fingerprint, also one whose outputs DVC restored without running."""
    client = open_store()
    where = f"tags.`picollm.fingerprint` = '{fingerprint}' and tags.`picollm.stage` = '{stage}' and attributes.status = 'FINISHED'"
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, filter_string=where, order_by=["attributes.start_time DESC"], max_results=1)
    return found[0].info.run_id if found else None


def child(name: str, task: str, stage: str, fingerprint: str, metrics: Mapping[str, float], plots: Path) -> None:
    """A stage's own run below the training it looked at, whose parameters MLflow would not let change any more; a training's row shows
    its evaluation too. What interpretation found stands in its own file of metrics."""
    parent = find(fingerprint, "train")
    with run(f"{name} {stage}", experiment=task, stage=stage, fingerprint=fingerprint, parent=parent) as tracked:
        tracked.metrics(metrics or _found(Path(f"metrics/{stage}/{name}.json")))
        tracked.artifacts(plots, "figures")
        if parent and metrics:
            Run(tracked.client, parent).metrics(metrics)


def _found(report: Path) -> dict[str, float]:
    """{"logit_lens/depth": value} of what every analysis estimated; intervals and nulls are in the report beside the figures."""
    analyses = read_record(report).items()
    return {f"{analysis}/{metric}": estimate["value"] for analysis, entry in analyses for metric, estimate in entry.get("metrics", {}).items()}


def comparison(report: Sequence[Path], headlines: Mapping[str, Mapping[str, Any]]) -> None:
    """All runs side by side as a run of its own, with the report's files; one that says the same is not logged twice."""
    said = hashlib.sha256(b"".join(path.read_bytes() for path in report)).hexdigest()[:16]
    if find(said, "compare"):
        return
    with run("comparison", experiment="comparison", stage="compare", fingerprint=said) as tracked:
        tracked.metrics({f"{name}/{metric}": value for name, entry in headlines.items() for metric, value in entry.items() if isinstance(value, float)})
        for path in report:
            tracked.artifacts(path)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"n_layer": 2}} -> {"model.n_layer": 2}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result


def _origin() -> dict[str, str]:
    """Where the run comes from: DVC's stage and experiment, git's revision and whether files differed from it."""
    tags = {f"picollm.{name.lower()}": os.environ[name] for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV") if os.environ.get(name)}
    revision, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if revision is None:
        return {**tags, "picollm.git": "none"}
    return {**tags, "mlflow.source.git.commit": revision, "picollm.git_dirty": str(bool(status)).lower()}


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _system_metrics(run_id: str) -> Iterator[None]:
    """Processor, memory, disk and network, every five seconds and once at the end, so that short runs have a point too."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=5, resume_logging=True, tracking_uri=store_uri())
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
        monitor.collect_metrics()
        monitor.publish_metrics(monitor.aggregate_metrics())
        monitor.mlflow_logger.flush()
