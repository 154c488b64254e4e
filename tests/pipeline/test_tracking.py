"""What stands in MLflow afterwards, whichever of DVC's ways the work was started by."""

import time

import pytest
from mlflow import MlflowClient


def runs(checkout, where: str = ""):
    client = MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}")
    return client, client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], filter_string=where)


def stage(name: str) -> str:
    return f"tags.`picollm.stage` = '{name}'"


def test_a_training_is_all_there(built):
    client, parents = runs(built, stage("train"))
    assert {run.info.run_name for run in parents} == {"softmax", "linear", "writer"}
    parent = next(run for run in parents if run.info.run_name == "softmax")
    assert parent.info.status == "FINISHED"
    assert parent.data.params["training.lr"] == "0.002"
    assert parent.data.params["model.n_head"] == "2"
    assert parent.data.params["threads"] == "2"
    assert parent.data.params["device"] == "cpu"
    tags = parent.data.tags
    assert tags["picollm.dvc_stage"] == "train@softmax"
    assert len(tags["picollm.fingerprint"]) == 16
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["picollm.git_dirty"] in ("true", "false")
    assert parent.inputs.dataset_inputs[0].dataset.name == "numbers"
    assert len(parent.inputs.dataset_inputs[0].dataset.digest) == 36
    assert any(name.startswith("system/") for name in parent.data.metrics)
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "figures")] == ["figures/curves.png"]

    children = [run for run in runs(built, stage("train-seed"))[1] if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert {run.info.run_name for run in children} == {"softmax seed 0", "softmax seed 1"}
    for child in children:
        assert {"train_loss", "validation_loss", "lr", "grad_norm", "tokens_per_second"} <= set(child.data.metrics)
        assert [metric.step for metric in client.get_metric_history(child.info.run_id, "train_loss")] == [5, 10, 15, 20]
        files = {file.path for file in client.list_artifacts(child.info.run_id, "checkpoint")}
        assert files == {"checkpoint/config.json", "checkpoint/model.safetensors"}


@pytest.mark.parametrize("name", ["evaluate", "interpret"])
def test_later_stages_are_children_of_the_training(built, name):
    trained = {run.data.tags["picollm.fingerprint"]: run.info.run_id for run in runs(built, stage("train"))[1]}
    found = runs(built, stage(name))[1]
    assert len(found) == 3
    for run in found:
        assert run.data.tags["mlflow.parentRunId"] == trained[run.data.tags["picollm.fingerprint"]]
        assert run.data.metrics or name == "interpret"


def test_the_best_model_of_every_task_is_registered_and_the_comparison_has_the_report(built):
    client, (comparison,) = runs(built, stage("compare"))
    assert [file.path for file in client.list_artifacts(comparison.info.run_id)] == ["report.html", "report.md"]
    assert {"softmax/excess", "linear/excess", "writer/bits_per_byte"} <= set(comparison.data.metrics)
    trained = {run.data.tags["picollm.fingerprint"]: run.info.run_id for run in runs(built, stage("train-seed"))[1]}
    for task, among in (("numbers", ("softmax", "linear")), ("story", ("writer",))):
        found = client.get_model_version_by_alias(task, "champion")
        assert found.tags["picollm.run"] in among
        assert found.run_id == trained[found.tags["picollm.fingerprint"]]
        assert client.get_experiment_by_name(task).tags["mlflow.experiment.primaryMetric.name"] == found.tags["picollm.metric"]
        assert f"models:/{task}@champion is " in built.log


def test_a_sweep_logs_its_cells(built):
    found = {run.info.run_name: run for run in runs(built, stage("sweep"))[1]}
    assert set(found) == {"rates lr=0.001 steps=5", "rates lr=0.004 steps=5", "kinds softmax", "kinds linear"}
    cell = found["kinds linear"]
    assert (cell.data.tags["picollm.sweep"], cell.data.tags["picollm.variant"]) == ("kinds", "linear")
    assert {"excess", "excess_48", "test_accuracy", "parameters"} <= set(cell.data.metrics), "its evaluation"
    assert "excess" not in found["rates lr=0.001 steps=5"].data.metrics, "not evaluated"


def test_every_way_of_running_lands_in_the_one_store(checkout):
    """dvc repro, exp run, exp run --temp, and two queued experiments with two workers."""

    def change(rate: str, *how: str) -> None:
        checkout.run("dvc", "exp", "run", *how, "-S", f"runs.softmax.training.lr={rate}", "train@softmax")

    text = (checkout.path / "params.yaml").read_text()
    (checkout.path / "params.yaml").write_text(text.replace("lr: 0.002", "lr: 0.003", 1))
    checkout.run("dvc", "repro", "train@softmax")
    change("0.004")
    change("0.005", "--temp")
    change("0.006", "--queue")
    change("0.007", "--queue")
    checkout.run("dvc", "queue", "start", "-j", "2")
    waiting = time.monotonic() + 120
    while "Running" in (status := checkout.run("dvc", "queue", "status").stdout) or "Queued" in status:
        assert time.monotonic() < waiting, status
        time.sleep(1)

    parents = runs(checkout, stage("train") + " and attributes.run_name = 'softmax'")[1]
    rates = {run.data.params["training.lr"]: run for run in parents}
    assert set(rates) == {"0.002", "0.003", "0.004", "0.005", "0.006", "0.007"}
    for rate, run in rates.items():
        assert run.info.status == "FINISHED", rate
        assert run.info.artifact_uri.startswith((checkout.path / "mlruns").as_uri()), rate
        assert ("picollm.dvc_exp_name" in run.data.tags) == (rate not in ("0.002", "0.003"))


def test_a_run_added_on_the_fly_is_compared(checkout):
    block = "{task: numbers, seeds: 1, model: {kind: lstm, d_model: 8}, training: {steps: 5, batch_size: 4}}"
    checkout.run("dvc", "exp", "run", "-S", f"+runs.extra={block}")
    assert '"extra"' in (checkout.path / "metrics/compare.json").read_text()
    assert "extra:" in (checkout.path / "params.yaml").read_text()


@pytest.mark.slow  # a whole experiment
def test_an_experiment_in_a_folder_of_its_own_makes_no_champion(checkout):
    """Its results are not the checkout's: `dvc exp apply` and `dvc repro compare` bring both."""
    client, _ = runs(checkout)

    def registered() -> dict[str, dict[str, str]]:
        return {model.name: dict(model.aliases) for model in client.search_registered_models()}

    before = registered()
    checkout.run("dvc", "exp", "run", "--temp", "-S", "runs.linear.training.lr=0.01", timeout=900)
    found = runs(checkout, stage("train") + " and attributes.run_name = 'linear'")[1]
    assert {run.data.params["training.lr"] for run in found} == {"0.002", "0.01"}, "it ran, and the store knows it"
    assert registered() == before
    assert len(client.search_model_versions("name = 'numbers'")) == 1


def test_the_users_own_server_wins(checkout, tmp_path):
    uri = f"sqlite:///{tmp_path / 'team.db'}"
    checkout.environment = {**checkout.environment, "MLFLOW_TRACKING_URI": uri}
    checkout.run("dvc", "repro", "-f", "-s", "train@linear")
    client = MlflowClient(uri)
    assert {run.info.run_name for run in client.search_runs([client.get_experiment_by_name("numbers").experiment_id])} == {"linear", "linear seed 0"}


def test_a_moved_checkout_still_shows_its_artifacts(checkout):
    moved = checkout.path.rename(checkout.path.parent / "moved")
    checkout.path = moved
    checkout.run("dvc", "repro", "-f", "-s", "evaluate@linear")
    client, found = runs(checkout, stage("train-seed"))
    assert all(client.list_artifacts(run.info.run_id, "checkpoint") for run in found if run.data.params)
