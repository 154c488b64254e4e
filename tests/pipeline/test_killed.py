"""What is killed goes on where it was saved, in the same MLflow run, to the same bits: a training, and a sweep with the cells it had finished."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from mlflow import MlflowClient

STAGE = "train@softmax"
SWEEP = ("python", "-m", "stages", "sweep", "kinds")


def slowed(checkout):
    """Long enough to be killed in the middle, saving at every point of the curves."""
    text = (checkout.path / "params.yaml").read_text()
    text = text.replace("steps: 20, batch_size: 4, log_every: 5", "steps: 800, save_seconds: 0, batch_size: 4, log_every: 5")
    (checkout.path / "params.yaml").write_text(text)
    return checkout


def saved(checkout, folder: str, beyond: int) -> bool:
    states = (checkout.path / ".resume").glob(f"{folder}/state/training.json")
    return any(json.loads(state.read_text())["step"] >= beyond for state in states)


def kill_when(checkout, command: tuple[str, ...], reached: Callable[[], bool]) -> None:
    process = checkout.start(*command)
    end = time.monotonic() + 120
    while time.monotonic() < end and not reached():
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

    def both_at_work() -> bool:
        """As soon as one of them is that far: then the other has begun, and neither has ended."""
        begun = list((killed.path / ".resume").glob("train-softmax-*/seed*/mlflow*"))
        return len(begun) == 2 and saved(killed, "train-softmax-*/seed*", beyond=200)

    kill_when(killed, ("dvc", "repro", STAGE), both_at_work)
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


def test_an_interrupted_study_leaves_no_training_behind(built, tmp_path):
    """Ctrl-C in the terminal: to the study, and from it to DVC, the stage, its fork and the two seeds that this trains."""
    stopped = slowed(built.copy(tmp_path / "stopped"))
    with stopped.start(sys.executable, "-m", "picollm", "study", STAGE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as study:
        end = time.monotonic() + 120
        while not saved(stopped, "train-softmax-*/seed*", beyond=100):
            assert study.poll() is None, study.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        family = psutil.Process(study.pid).children(recursive=True)
        assert len([member for member in family if "forkserver" in " ".join(member.cmdline())]) >= 4  # server, keeper, stage, seeds
        study.send_signal(signal.SIGINT)
        _, err = study.communicate(timeout=60)
    assert study.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted; the same command goes on where this one stopped"
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [member for member in alive if member.status() != psutil.STATUS_ZOMBIE]
    assert saved(stopped, "train-softmax-*/seed*", beyond=100)


def test_a_killed_sweep_trains_no_cell_twice_and_ends_with_the_same_bits(built, tmp_path):
    checkouts = undisturbed, killed = [built.copy(tmp_path / name) for name in ("undisturbed", "killed")]
    for checkout in checkouts:
        text = (checkout.path / "params.yaml").read_text()
        grid = "grid: {training.lr: [0.001, 0.004]}\n    training: {steps: 200, save_seconds: 0, batch_size: 4, log_every: 5"
        (checkout.path / "params.yaml").write_text(text.replace("training: {steps: 5, batch_size: 4, log_every: 5", grid))
    undisturbed.run(*SWEEP)

    def finished() -> set[str]:
        """Cells with a result, whose MLflow run has ended: the folder goes last."""
        return {path.name for path in (killed.path / ".resume").glob("sweep-kinds *.json") if not Path(str(path).removesuffix(".json")).exists()}

    # Two cells are trained at a time: when one of the first two is done, a third begins.
    kill_when(killed, SWEEP, lambda: bool(finished()) and saved(killed, "sweep-kinds linear*/seed0", beyond=50))
    done = finished()
    assert 1 <= len(done) < 4

    client = MlflowClient(f"sqlite:///{killed.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("numbers").experiment_id
    where = "tags.`picollm.stage` = 'sweep' and tags.`picollm.sweep` = 'kinds' and attributes.run_name LIKE '%lr%'"
    before = {run.info.run_name: run.info for run in client.search_runs([experiment], filter_string=where)}
    killed.run(*SWEEP)
    after = client.search_runs([experiment], filter_string=where)
    assert len(after) == 4, "no cell has a second run"
    for run in after:
        assert run.info.status == "FINISHED"
        if any(name.startswith(f"sweep-{run.info.run_name}-") for name in done):
            assert run.info.end_time == before[run.info.run_name].end_time, "trained before the kill"
    for product in ("metrics/sweep/kinds.json", "plots/sweep/kinds/length.csv", "plots/sweep/kinds/length.png", "plots/sweep/kinds/validation_loss.png"):
        assert (killed.path / product).read_bytes() == (undisturbed.path / product).read_bytes(), product
    assert not [path for path in (killed.path / ".resume").glob("sweep-kinds*") if path.suffix != ".lock"]
