"""The training loop: a resumed training cannot be told from an uninterrupted one."""

import math

import numpy as np
import pytest
import torch

from picollm.core.errors import UserError
from picollm.models import kgram, lstm, transformer
from picollm.training import checkpoints
from picollm.training.batches import Batch, from_rows, random_windows, windows_at
from picollm.training.loop import exact, loss_of, train, validate
from picollm.training.optimizers import Optimizer
from picollm.training.recipe import Recipe
from picollm.training.schedules import learning_rate

V = 11
STREAM = np.random.Generator(np.random.PCG64([7])).integers(1, 3, 400).cumsum() % V
FEED = random_windows(STREAM, 9, 4, seed=0)
VALIDATION = [windows_at(STREAM, np.arange(4) * 20, 9), windows_at(STREAM, np.arange(2) * 33, 9)]
STEPS = 24


class KilledError(Exception):
    pass


def build(dropout=0.2, kind="transformer", **settings):
    checkpoints.seed_everything(0)
    if kind == "lstm":
        return lstm.Model(lstm.Config(d_model=16, dropout=dropout), V)
    if kind == "kgram":
        return kgram.Model(kgram.Config(d_model=16, dropout=dropout, chunk=4), V)
    return transformer.Model(transformer.Config(d_model=16, n_head=2, n_layer=1, dropout=dropout, **settings), V)


def recipe(**settings):
    return Recipe(**{"steps": STEPS, "log_every": 3, "validate_every": 6, "save_seconds": 0.0, "lr": 1e-2, **settings})


def run(model, state=None, keep=lambda step: None, **settings):
    return train(model, FEED, STEPS, VALIDATION, recipe(**settings), state=state, keep=keep)


def result(state=None, kind="transformer", **settings):
    """The rows and the weights of a whole training."""
    model = build(kind=kind)
    return run(model, state, **settings), {name: value.tolist() for name, value in model.state_dict().items()}


def kill_at(kill):
    def keep(step):
        if step == kill:
            raise KilledError

    return keep


@pytest.mark.parametrize("kills", [[1], [10], [7, 16], [24]], ids=str)
@pytest.mark.parametrize(("kind", "optimizer"), [("transformer", "adamw"), ("transformer", "muon"), ("lstm", "adamw"), ("kgram", "muon")])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, kind, optimizer, kills):
    for kill in kills:
        with pytest.raises(KilledError):
            run(build(kind=kind), tmp_path, kill_at(kill), optimizer=optimizer)
        assert (tmp_path / "training.json").exists() == (kill > 3)
    assert result(tmp_path, kind, optimizer=optimizer) == result(kind=kind, optimizer=optimizer)


def test_a_training_goes_on_from_where_it_was_saved(tmp_path):
    with pytest.raises(KilledError):
        run(build(), tmp_path, kill_at(11))
    steps = []
    run(build(), tmp_path, steps.append)
    assert steps == list(range(10, STEPS + 1))  # saved at 9, the last point of the curves before 11


def test_a_finished_training_is_not_trained_again(tmp_path):
    steps = []
    assert result(tmp_path) == result(tmp_path, keep=steps.append)
    assert steps == []


def test_the_state_is_one_file_of_tensors_and_one_of_facts(tmp_path):
    run(build(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"training-{STEPS}.safetensors", "training.json"]


def test_saving_seldom_changes_nothing(tmp_path):
    assert result(tmp_path / "often") == result(tmp_path / "seldom", save_seconds=1000.0) == result()


def test_rows_hold_what_the_curves_show():
    rows = run(build())
    assert [row["step"] for row in rows] == list(range(3, STEPS + 1, 3))
    assert [row["step"] for row in rows if "validation_loss" in row] == [6, 12, 18, 24]
    assert [row["tokens"] for row in rows] == [row["step"] * 4 * 9 for row in rows]
    assert [row["lr"] for row in rows] == [learning_rate(recipe(), row["step"] - 1, STEPS) for row in rows]
    assert all(set(row) - {"validation_loss"} == {"step", "tokens", "train_loss", "lr", "grad_norm"} for row in rows)


def test_a_last_point_that_is_not_due_is_logged_and_validated_too():
    rows = train(build(), FEED, 8, VALIDATION, recipe(steps=8))
    assert [row["step"] for row in rows] == [3, 6, 8]
    assert "validation_loss" in rows[-1]


def test_every_row_reaches_the_log_once_and_has_a_speed(tmp_path):
    for state in (None, tmp_path):
        logged = []
        rows = train(build(), FEED, STEPS, VALIDATION, recipe(), state=state, log=logged.extend)
        assert [{key: value for key, value in row.items() if key != "tokens_per_second"} for row in logged] == rows
        assert all(row["tokens_per_second"] > 0 for row in logged)


def test_the_losses_of_a_row_are_the_mean_over_its_steps():
    by_step, by_row = (run(build(), log_every=every) for every in (1, 3))
    for index, row in enumerate(by_row):
        for name in ("train_loss", "grad_norm"):
            assert row[name] == pytest.approx(np.mean([step[name] for step in by_step[3 * index : 3 * index + 3]]))


def test_training_learns():
    rows = run(build(0.0), lr=3e-2)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] - 0.5
    assert rows[0]["train_loss"] == pytest.approx(math.log(V), abs=0.2)


def test_a_gradient_longer_than_clip_is_cut_to_it(monkeypatch):
    lengths = []
    original = Optimizer.step

    def step(self):
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        lengths.append(float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()))
        return original(self)

    monkeypatch.setattr(Optimizer, "step", step)
    rows = run(build(), clip=0.05)
    assert min(row["grad_norm"] for row in rows) > 0.1  # as it was before the cut
    assert lengths == pytest.approx([0.05] * STEPS, rel=1e-3)


def test_a_loss_that_is_not_finite_is_a_user_error(tmp_path):
    model = build()
    with torch.no_grad():
        model.norm.weight[0] = math.inf
    with pytest.raises(UserError, match=r"^training\.lr: the loss of run seed 0 became nan by step 3; lower lr"):
        train(model, FEED, STEPS, VALIDATION, recipe(), state=tmp_path, label="run seed 0")
    assert not (tmp_path / "training.json").exists()


def test_validation_is_a_mean_over_targets_without_dropout():
    model = build(0.5)
    assert validate(model, VALIDATION) == validate(model, VALIDATION)
    assert model.training
    model.eval()
    with torch.no_grad():
        first, second = (float(loss_of(model, batch)) for batch in VALIDATION)
    assert validate(model, VALIDATION) == pytest.approx((2 * first + second) / 3)


def test_padding_is_no_part_of_the_loss():
    model = build().eval()
    padded = from_rows(np.array([[1, 2, 3, 10, 10, 10], [4, 5, 6, 7, 8, 9]]), pad=10)
    with torch.no_grad():
        logits = model(padded.inputs).log_softmax(-1)
        scored = [-logits[0, 0, 2], -logits[0, 1, 3], *(-logits[1, t, t + 5] for t in range(5))]
        assert float(loss_of(model, padded)) == pytest.approx(float(torch.stack(scored).mean()))


def test_validating_longer_sequences_than_the_training_had_does_no_harm():
    """A rotary table that grows while gradients are switched off must still serve the next step."""
    stream = np.tile(STREAM, 2)
    train(build(block_size=8), FEED, 6, [windows_at(stream, np.zeros(1, int), 600)], recipe(steps=6, log_every=3, validate_every=3))


def test_a_training_is_in_evaluation_mode_when_it_ends():
    model = build()
    run(model)
    assert not model.training


def test_saving_is_atomic_as_a_pair(tmp_path, monkeypatch):
    """A kill between the tensors and the facts leaves the pair of the save before."""
    original = checkpoints.write_json

    def write_json(path, value):
        if value["step"] == 9:
            raise KilledError
        original(path, value)

    monkeypatch.setattr(checkpoints, "write_json", write_json)
    with pytest.raises(KilledError):
        run(build(), tmp_path)
    monkeypatch.undo()
    assert result(tmp_path) == result()


def test_sequences_are_exact_when_all_that_is_scored_is_right():
    model = build().eval()
    x = torch.randint(0, V, (6, 5), generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(-1)
    y[1, 2] = (y[1, 2] + 1) % V  # wrong
    y[2, 3] = -100  # not scored
    y[3, :] = (y[3, :] + 1) % V
    model.train()
    assert exact(model, [Batch(x[:4], y[:4]), Batch(x[4:], y[4:])]) == 4 / 6
    assert model.training
    rows = train(build(), FEED, STEPS, VALIDATION, recipe(), whole=True)
    assert [row["step"] for row in rows if "validation_exact" in row] == [row["step"] for row in rows if "validation_loss" in row]
    assert not any("validation_exact" in row for row in train(build(), FEED, STEPS, VALIDATION, recipe()))
