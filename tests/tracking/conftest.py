"""A checkout with untrained models of three kinds of task, and what MLflow has of them."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import mlflow
import pytest
import torch

from picollm import models, tracking
from picollm.training.checkpoints import save_model

SMALL = {"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 1}
FORMAT = {"kind": "addition", "train": 8, "validation": 8, "test": 8, "long": 2, "digits": [1, 2], "padding": "fixed", "order": "reversed"}
CHARS = "".join(sorted(set("The hare and the hound ran over the hill.")))
MODELS = {  # task: kind, tokenizer, vocabulary, whole documents
    "numbers": ("numeric", {"kind": "integers", "pad": 127}, 128, False),
    "story": ("text", {"kind": "chars", "characters": CHARS}, len(CHARS) + 1, True),
    "sums": ("addition", {"kind": "integers", "pad": 11, "addition": FORMAT}, 12, False),
}


def checkpoint(folder: Path, task: str, seed: int = 0) -> Path:
    kind, tokenizer, size, whole = MODELS[task]
    torch.manual_seed(seed)
    model = models.build(SMALL, size, "model")
    for weight in model.parameters():  # away from the uniform beginning
        weight.data *= 4
    facts = {"run": task, "task": task, "kind": kind, "model": SMALL, "tokenizer": tokenizer, "whole": whole, "targets": kind == "addition"}
    save_model(folder / f"data/checkpoints/{task}/seed{seed}", model, facts)
    (folder / f"data/checkpoints/{task}/seed{seed}/snapshots").mkdir()
    return folder / f"data/checkpoints/{task}/seed{seed}"


@pytest.fixture(scope="session")
def origin(tmp_path_factory) -> Path:
    """Made once: MLflow takes seconds for an empty database."""
    folder = tmp_path_factory.mktemp("tracking") / "checkout"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the experiment is put that MLflow makes by itself
        patch.setenv("DVC_ROOT", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (folder / "curve.csv").write_text("step,loss\n1,2\n")
        with tracking.run("numbers", experiment="numbers", stage="train", fingerprint="mark") as parent:
            parent.artifacts(folder / "curve.csv", "figures")
            with tracking.run("numbers seed 0", experiment="numbers", stage="train-seed", fingerprint="mark-0", parent=parent.id) as child:
                child.metrics({"validation_loss": 1.0})
        for task in MODELS:
            assert tracking.register(task, "mark-0", checkpoint(folder, task), {"picollm.run": task}, f"{task}, untrained")
    return folder


@pytest.fixture
def checkout(origin, tmp_path, monkeypatch) -> Iterator[SimpleNamespace]:
    """A copy, somewhere else than where it was made, with MLflow's own functions pointed at it."""
    path = Path(shutil.copytree(origin, tmp_path / "moved to"))  # with a blank, which addresses write otherwise
    monkeypatch.setenv("DVC_ROOT", str(path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts a loaded model's code first
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking.store_uri())
    yield SimpleNamespace(path=path, checkpoint=partial(checkpoint, path), client=mlflow.MlflowClient(tracking.store_uri()))
    mlflow.set_tracking_uri(before)


def wait_for(address: str, server: subprocess.Popen, log) -> None:
    waiting = time.monotonic() + 120
    while True:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            assert server.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < waiting, log.read_text()[-4000:]
            time.sleep(0.3)
