"""A checkout that was moved or copied shows its artifacts: of runs, and of models."""

import sqlite3
from pathlib import Path

import mlflow
import pytest

from picollm import tracking
from picollm.tracking.store import ADDRESSES


def addresses(path: Path) -> list[str]:
    with sqlite3.connect(path / "mlflow.db") as database:
        return [row[0] for table, column in ADDRESSES.items() for row in database.execute(f"SELECT {column} FROM {table}")]


def test_no_address_of_a_moved_checkout_points_to_where_it_was(checkout, origin):
    assert any(str(origin) in address for address in addresses(checkout.path))
    tracking.mend()
    found = addresses(checkout.path)
    assert not [address for address in found if str(origin) in address]
    assert all(address.startswith((checkout.path.as_uri(), str(checkout.path))) for address in found)
    tracking.mend()
    assert addresses(checkout.path) == found
    assert all(str(origin) in address for address in addresses(origin)), "the original of a copy keeps its own"


def test_every_address_that_mlflow_stores_is_known(origin):
    """Whatever column of whatever table holds the checkout's folder."""
    found = set()
    with sqlite3.connect(origin / "mlflow.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            found |= {(table, name) for row in rows for name, value in zip(names, row, strict=True) if str(origin) in str(value)}
    assert found == set(ADDRESSES.items())


def test_artifacts_of_runs_and_models_are_there_after_a_move(checkout):
    run = tracking.find("mark", "train")  # any stage's first question mends
    assert [file.path for file in checkout.client.list_artifacts(run, "figures")] == ["figures/curve.csv"]
    assert mlflow.artifacts.load_text(f"runs:/{run}/figures/curve.csv").startswith("step")
    model = checkout.client.search_logged_models([checkout.client.get_experiment_by_name("story").experiment_id])[0]
    assert "champion.py" in {file.path for file in checkout.client.list_logged_model_artifacts(model.model_id)}
    assert mlflow.pyfunc.load_model("models:/story@champion").predict(["The"], {"length": 3, "temperature": 0})


def test_what_isorigin_after_a_move_is_beside_what_was_before(checkout):
    with tracking.run("more", experiment="numbers", stage="evaluate", fingerprint="f") as run:
        run.artifacts(checkout.path / "curve.csv")
    tracking.register("numbers", "mark-1", checkout.checkpoint("numbers", seed=1), {}, "")
    assert len(list((checkout.path / "mlruns/numbers").glob("*/artifacts/curve.csv"))) == 1
    assert len(list((checkout.path / "mlruns/numbers/models").iterdir())) == 2


def test_another_store_that_the_user_names_is_left_as_it_is(checkout, origin, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{origin / 'mlflow.db'}")
    tracking.mend()
    assert all(str(origin) in address for address in addresses(origin))


@pytest.mark.slow  # a database of its own
def test_the_users_store_gets_the_champion(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'team.db'}")
    assert tracking.register("numbers", "mark-0", checkout.path / "data/checkpoints/numbers/seed0", {}, "")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'team.db'}")
    assert client.get_model_version_by_alias("numbers", "champion").version in (1, "1")
