"""A training that is killed goes on where it was saved, in the same MLflow run, to the same bits."""

import json
import signal
import time
from contextlib import suppress

import psutil
from mlflow import MlflowClient

STAGE = "train@softmax"


def slowed(checkout):
    """Long enough to be killed in the middle, saving at every point of the curves."""
    text = (checkout.path / "params.yaml").read_text()
    text = text.replace("steps: 20, batch_size: 4, log_every: 5", "steps: 800, save_seconds: 0, batch_size: 4, log_every: 5")
    (checkout.path / "params.yaml").write_text(text)
    return checkout


def kill_when_saved(checkout, beyond: int) -> None:
    process = checkout.start("dvc", "repro", STAGE)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        states = list((checkout.path / ".resume").glob("train-softmax-*/seed1/state/training.json"))
        if states and json.loads(states[0].read_text())["step"] >= beyond:
            break
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.02)
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):  # the workers end by themselves once their stage is gone
            member.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_training_resumes_to_the_same_bits(built, tmp_path):
    undisturbed, killed = slowed(built.copy(tmp_path / "undisturbed")), slowed(built.copy(tmp_path / "killed"))
    undisturbed.run("dvc", "repro", STAGE)
    kill_when_saved(killed, beyond=200)
    assert not (killed.path / "data/checkpoints/softmax/run.json").exists()

    client = MlflowClient(f"sqlite:///{killed.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("numbers").experiment_id
    running = {run.info.run_id for run in client.search_runs([experiment], filter_string="attributes.status = 'RUNNING'")}
    assert len(running) == 3  # the parent and its two seeds, which train side by side
    killed.run("dvc", "repro", STAGE)

    for seed in (0, 1):
        for name in ("model.safetensors", "config.json"):
            mine, theirs = (checkout.path / f"data/checkpoints/softmax/seed{seed}/{name}" for checkout in (killed, undisturbed))
            assert mine.read_bytes() == theirs.read_bytes(), (seed, name)
    for product in ("plots/train/softmax.csv", "metrics/train/softmax.json"):
        assert (killed.path / product).read_bytes() == (undisturbed.path / product).read_bytes()

    for run_id in running:
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["picollm.resumed"] == "true"
        assert len(client.search_runs([experiment], filter_string=f"tags.`picollm.fingerprint` = '{run.data.tags['picollm.fingerprint']}'")) == 1
        if run.data.tags["picollm.stage"] == "train-seed":
            steps = [metric.step for metric in client.get_metric_history(run_id, "train_loss")]
            assert sorted(set(steps)) == list(range(5, 801, 5))
            assert len(steps) - len(set(steps)) <= 3  # the last points before the kill may be logged twice
    assert not list((killed.path / ".resume").glob("train-softmax-*/"))
