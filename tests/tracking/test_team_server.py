"""MLFLOW_TRACKING_URI names a server: runs, their files and champions are there, and nothing is put into the checkout."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

import picollm
from picollm import tracking
from tests.tracking.conftest import checkpoint, wait_for


@pytest.fixture
def team(tmp_path, monkeypatch) -> Iterator[str]:
    """The server's address; this process is in a checkout of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home, here = tmp_path / "server", tmp_path / "checkout"
    home.mkdir()
    here.mkdir()
    store = ["--backend-store-uri", f"sqlite:///{home / 'team.db'}", "--artifacts-destination", str(home / "files")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with open(home / "log", "w") as out:
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=out, stderr=out, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server, home / "log")
        monkeypatch.chdir(here)
        monkeypatch.setenv("DVC_ROOT", str(here))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts a loaded model's code first
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(address)
        yield address
        mlflow.set_tracking_uri(before)
    finally:
        os.killpg(server.pid, 15)  # its workers too
        server.wait(60)


@pytest.mark.slow  # MLflow's server takes seconds to start
def test_a_teams_server_has_runs_files_and_champions(team):
    folder = checkpoint(Path(), "numbers")
    Path("curve.csv").write_text("step,loss\n1,2\n")
    with tracking.run("numbers", experiment="numbers", stage="train", fingerprint="mark") as parent:
        parent.artifacts(Path("curve.csv"), "figures")
        with tracking.run("numbers seed 0", experiment="numbers", stage="train-seed", fingerprint="mark-0", parent=parent.id) as child:
            child.metrics({"validation_loss": 1.0})
    assert tracking.register("numbers", "mark-0", folder, {"picollm.run": "numbers"}, "untrained")
    assert not tracking.register("numbers", "mark-0", folder, {"picollm.run": "numbers"}, "untrained")
    client = mlflow.MlflowClient(team)
    assert [file.path for file in client.list_artifacts(parent.id, "figures")] == ["figures/curve.csv"]
    assert client.get_run(child.id).data.metrics == {"validation_loss": 1.0}
    found = client.get_model_version_by_alias("numbers", "champion")
    assert (found.run_id, found.status) == (child.id, "READY")
    said = mlflow.pyfunc.load_model("models:/numbers@champion").predict(["3 5 7"], params={"length": 12, "seed": 3})
    assert list(said) == [picollm.load(folder).generate("3 5 7", length=12, seed=3)]
    left = {path.name for path in Path().iterdir()} - {"data", "curve.csv", "mlflow.db.lock"}
    assert not left, "all of it is with the server"
