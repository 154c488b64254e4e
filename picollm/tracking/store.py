"""Where MLflow keeps the runs, and how it is opened.

All work lands in one store of the main checkout, also from the temporary folders that `dvc exp run --temp` and
`--queue` compute in: DVC_ROOT is the main checkout in every mode. MLFLOW_TRACKING_URI, when the user sets it, wins.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from mlflow import MlflowClient

ADDRESSES = {  # where MLflow's tables hold absolute ones
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def root() -> Path:
    """The main checkout, wherever this process was started."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def store_uri() -> str:
    """SQLite beside params.yaml is MLflow's own default, so a plain `mlflow ui` shows the same runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def open_store() -> MlflowClient:
    """Under a lock: several processes that create the database at once would leave it broken for good."""
    with _alone():
        client = MlflowClient(store_uri())
        client.search_experiments(max_results=1)  # it is the first question that creates
        _mend()
    return client


def experiment_of(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is made where there is none."""
    with _alone():
        if known := client.get_experiment_by_name(name):
            return str(known.experiment_id)
        local = store_uri().startswith("sqlite:")
        return client.create_experiment(name, artifact_location=_artifacts(name) if local else None)


def mend() -> None:
    """Make the artifacts of a checkout that was moved, or copied, those at its present place: MLflow stores absolute addresses."""
    with _alone():
        _mend()


def _own_uri() -> str:
    return f"sqlite:///{root() / 'mlflow.db'}"


def _alone() -> FileLock:
    return FileLock(root() / "mlflow.db.lock")


def _artifacts(experiment: str) -> str:
    return (root() / "mlruns" / experiment).as_uri()


def _mend() -> None:
    path = root() / "mlflow.db"
    if store_uri() != _own_uri() or not path.exists():
        return
    with closing(sqlite3.connect(path)) as database, database:
        for name, location in database.execute("SELECT name, artifact_location FROM experiments").fetchall():
            ours = _artifacts(name)
            tail = ours.removeprefix(root().as_uri())
            if location != ours and location.endswith(tail):
                old = location.removesuffix(tail)
                _replace(database, f"{old}/", f"{root().as_uri()}/")
                _replace(database, f"{url2pathname(urlsplit(old).path)}/", f"{root()}/")  # the experiment that MLflow makes by itself


def _replace(database: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in ADDRESSES.items():
        database.execute(f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?", (new, len(old) + 1, len(old), old))
