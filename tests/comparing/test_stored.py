"""What MLflow's store gives back of a training: every seed's last values and curve, and the means of its evaluation."""

import pytest

from picollm import tracking


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_a_training_comes_back_with_its_seeds(store):
    assert tracking.stored("0" * 32) is None
    assert not (store / "mlflow.db").exists()
    with tracking.run("softmax", experiment="numbers", stage="train", fingerprint="mark", parameters={"model": {"n_layer": 2}}) as parent:
        for seed in (0, 1):
            tags = {"picollm.seed": str(seed)}
            with tracking.run("s", experiment="numbers", stage="train-seed", fingerprint=f"mark-{seed}", tags=tags, parent=parent.id) as child:
                child.rows([{"step": 10, "train_loss": 3.0, "validation_loss": 4.0}, {"step": 20, "train_loss": 1.0 + seed}])
    with tracking.run("e", experiment="numbers", stage="evaluate", fingerprint="mark", parent=parent.id) as evaluated:
        evaluated.metrics({"excess": 0.5})
    found = tracking.stored(parent.id)
    assert (found["name"], found["parameters"]) == ("softmax", {"model.n_layer": "2"})
    assert found["values"] == {"train_loss": {"0": 1.0, "1": 2.0}, "validation_loss": {"0": 4.0, "1": 4.0}, "excess": {"mean": 0.5}}
    assert {"seed": "1", "step": 20, "train_loss": 2.0} in found["curve"]
    assert len(found["curve"]) == 4
    assert tracking.stored(child.id)["values"]["train_loss"] == {"1": 2.0}
    assert tracking.stored("0" * 32) is None
