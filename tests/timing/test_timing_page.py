"""Times from a store of MLflow: counted from tokens and their rate, of the newest finished training; and the page of them."""

import pytest

from picollm import tracking
from picollm.core.statistics import summary
from picollm.report.collect import Run, Sweep, Task
from picollm.report.figures import Style
from picollm.study import Study
from picollm.timing import page
from picollm.timing.logged import trainings


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(name, rates, fails=False):
    """A training of a seed for each rate: 100 tokens at that rate, then 300 at half of it."""
    with tracking.run(name, experiment="numbers", stage="train", fingerprint="mark") as parent:
        for seed, rate in enumerate(rates):
            tags = {"picollm.seed": str(seed)}
            with tracking.run(f"{name} {seed}", experiment="numbers", stage="train-seed", fingerprint="mark", tags=tags, parent=parent.id) as child:
                child.rows(
                    [
                        {"step": 10, "tokens": 100, "tokens_per_second": rate, "validation_loss": 3.0},
                        {"step": 40, "tokens": 400, "tokens_per_second": rate / 2, "validation_loss": 1.0},
                    ]
                )
        if fails:
            raise KeyboardInterrupt
    return parent.id


def test_seconds_are_counted_from_tokens_and_their_rate(store):
    assert trainings([("softmax", "numbers")]) == []
    assert not (store / "mlflow.db").exists()
    train("softmax", [1.0])
    run = train("softmax", [10.0, 20.0])
    with pytest.raises(KeyboardInterrupt):
        train("softmax", [99.0], fails=True)
    (found,) = trainings([("softmax", "numbers"), ("linear", "numbers"), ("softmax", "letters")])
    assert found.address.endswith(f"/runs/{run}"), "the newest that ended"
    slow, fast = found.seeds
    assert slow.seconds == pytest.approx(100 / 10 + 300 / 5)
    assert slow.course == [(pytest.approx(10), 3.0), (pytest.approx(70), 1.0)]
    assert slow.tokens_per_second == pytest.approx(400 / 70)
    assert fast.seconds == pytest.approx(35)


def test_the_page_has_every_training_and_every_stage(store):
    train("softmax", [10.0, 20.0])
    runs = [Run(name, {}, Style("#000000")) for name in ("softmax", "linear")]
    tokenized = {"splits": {"validation": {"tokens_per_byte": 0.5, "floor_bits_per_token": 1.0}}}
    tasks = [Task("numbers", {"kind": "text"}, {}, tokenized, runs), Task("letters", {}, {}, {}, runs)]
    page.write(Study({}), tasks, [], {"train@softmax": 105.0, "compare": 5})
    text = (store / page.PAGE).read_text(encoding="utf-8")
    assert "<td>35.0 to 70.0</td><td>5.71 to 11.4</td>" in text
    assert "validation loss (bits per byte)" in text
    assert "exact floor 0.5" in text, "a bit per token, half a token a byte"
    assert ">letters<" not in text, "nothing of it was trained"
    rows = [text.index(name) for name in ("train@softmax", "compare", ">110.0<")]
    assert rows == sorted(rows), "the longest first, the sum last"


def test_variants_stand_with_their_time_and_their_memory(store):
    blocks = {kind: {"kind": "transformer", "attention": kind, "d_model": 16, "n_head": 2, "n_layer": 1} for kind in ("softmax", "linear")}
    blocks["gru"] = {"kind": "lstm", "cell": "gru", "d_model": 16}
    cells = [{"label": name, "variant": name, "point": {}, "summary": {"excess": summary([0.5]), "validation_loss": summary([1.0])}} for name in blocks]
    for name in blocks:
        train(f"kinds {name}", [10.0])
    sweep = Sweep("kinds", {"base": "variants.kinds", "task": "numbers"}, {"cells": cells}, styles={name: Style("#000000") for name in blocks})
    page.write(Study({"variants": {"kinds": blocks}}), [], [sweep], {})
    text = (store / page.PAGE).read_text(encoding="utf-8")
    softmax = 2 * 512 * 16 * 4 / 1000  # keys and values
    assert f"<td>70.0</td><td>{softmax:.1f}</td><td>0.5000</td>" in text
    assert "excess over floor against kB that a sequence leaves in memory" in text
