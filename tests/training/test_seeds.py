"""Checkpoints that a training keeps on its way."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.config import parse
from picollm.core.tokens import open_tokens
from picollm.tasks import numeric
from picollm.training.checkpoints import load_model
from picollm.training.recipe import Run
from picollm.training.seeds import snapshots, train_seed


@given(st.integers(1, 5000), st.integers(1, 60))
def test_snapshots_grow_apart_and_end_with_the_training(steps, count):
    moments = snapshots(steps, count)
    assert moments == sorted(set(moments))
    assert moments[0] == 0
    assert moments[-1] == steps
    assert len(moments) == count + 1 or steps < count**2


def test_none_are_kept_unless_asked_for():
    assert snapshots(100, 0) == []


def test_the_first_seed_keeps_them_and_no_other(tmp_path):
    config = parse(numeric.Config, {"kind": "numeric", "spec": "classic", "train": 4, "validation": 4, "test": 4, "long": 4}, "tasks.t")
    numeric.generate(config, tmp_path / "raw")
    numeric.tokenize(config, tmp_path / "raw", tmp_path / "tokens")
    model = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 8}
    run = parse(Run, {"task": "t", "seeds": 2, "model": model, "training": {"steps": 8, "batch_size": 4, "snapshots": 2}}, "runs.r")
    for seed in range(2):
        train_seed(run, "r", open_tokens(tmp_path / "tokens"), seed, "mark", torch.device("cpu"), tmp_path / str(seed), lambda rows: None)
    kept = sorted((tmp_path / "0/checkpoint").glob("step*"))
    assert [path.name for path in kept] == ["step000000", "step000002", "step000008"]
    _, early, last, end = (load_model(path).embed.weight for path in (*kept, tmp_path / "0/checkpoint"))
    assert torch.equal(last, end)
    assert not torch.equal(early, end)
    assert not list((tmp_path / "1/checkpoint").glob("step*"))
