"""Checkpoints: what is damaged, foreign or does not fit is named in one line, and a full disk spoils nothing."""

import ctypes
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from picollm import load, models
from picollm.core.errors import UserError
from picollm.training import checkpoints, optimizers
from picollm.training.checkpoints import load_training, read_config, save_model, save_training
from picollm.training.recipe import Recipe

V = 11
BLOCK = {"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 1}
OTHERS = [{**BLOCK, "n_layer": 2}, {**BLOCK, "d_model": 32}, {**BLOCK, "tie_embeddings": False}, {"kind": "lstm", "d_model": 16}]


def build(block=BLOCK, seed=0):
    torch.manual_seed(seed)
    return models.build(block, V, "model").eval()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "seed0", build(), {"model": BLOCK, "run": "classic"})
    return tmp_path / "seed0"


def refused(folder, mentions):
    """Loading fails with one line that starts with a path and says what to do."""
    with pytest.raises(UserError, match=mentions) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder))


def test_a_folder_holds_weights_and_what_they_belong_to(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert read_config(folder) == {"format": 1, "vocab_size": V, "model": BLOCK, "run": "classic"}
    assert same(load(folder), build())
    assert same(load(str(folder)), build())


def test_the_same_model_gives_the_same_bytes(folder, tmp_path):
    save_model(tmp_path / "again", build(), {"run": "classic", "model": BLOCK})
    for name in ("config.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_tied_matrix_is_stored_once(folder, tmp_path):
    save_model(tmp_path / "untied", build(OTHERS[2]), {"model": OTHERS[2]})
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "untied", folder)]
    assert sizes[0] - sizes[1] >= 4 * V * 16


def test_a_missing_folder(tmp_path):
    refused(tmp_path / "nothing", "no such checkpoint folder; train the run first")


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "no such file; train the run again")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, "model.safetensors: truncated or not a safetensors file")


def test_a_foreign_file_as_weights(folder):
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 this is a pickle in a zip, which nobody opens" * 10)
    refused(folder, "model.safetensors: truncated or not a safetensors file")


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_weights_of_another_model(folder, tmp_path, other):
    save_model(tmp_path / "other", build(other), {"model": other})
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    refused(folder, "weights of another model|do not fit the model that config.json describes")


@pytest.mark.parametrize(
    ("content", "mentions"),
    [
        ("{", "is not JSON"),
        ("[]", "not a checkpoint of format 1"),
        ('{"format": 2, "model": {}, "vocab_size": 11}', "not a checkpoint of format 1"),
        ('{"format": 1, "model": {"kind": "transformer"}}', "not a checkpoint of format 1"),
        ('{"format": 1, "vocab_size": 11, "model": {"kind": "transfomer"}}', "config.json: model.kind: unknown 'transfomer'"),
        ('{"format": 1, "vocab_size": 11, "model": {"kind": "transformer", "d_modl": 4}}', "d_modl: unknown parameter"),
    ],
)
def test_a_config_that_is_none(folder, content, mentions):
    (folder / "config.json").write_text(content)
    refused(folder, mentions)


def test_a_config_without_the_facts_that_are_needed(folder):
    assert read_config(folder, "run")["run"] == "classic"
    with pytest.raises(UserError, match=r"config\.json: says nothing of context, tokenizer; train the run again"):
        read_config(folder, "tokenizer", "run", "context")


def full_disk(*_arguments, **_settings):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "safetensors"])
def test_a_disk_that_is_full_leaves_the_old_file_good(folder, monkeypatch, call):
    monkeypatch.setattr(*((checkpoints, "save_file") if call == "safetensors" else (call,)), full_disk)
    with pytest.raises(UserError, match=r"model\.safetensors: could not be written \(No space left on device\); free some space"):
        save_model(folder, build(seed=1), {"model": BLOCK})
    monkeypatch.undo()
    assert same(load(folder), build())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        mounted = libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=64k") == 0
    except AttributeError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a file system")
    yield folder
    assert libc.umount2(str(folder).encode(), 2) == 0  # MNT_DETACH


def test_a_disk_that_is_really_full_leaves_the_old_file_good(tiny_disk):
    small, large = build(), {**BLOCK, "d_model": 128}
    save_model(tiny_disk, small, {"model": BLOCK})
    with pytest.raises(UserError, match=r"could not be written \(No space left on device\); free some space"):
        save_model(tiny_disk, build(large), {"model": large})
    assert same(load(tiny_disk), small)
    assert len(list(tiny_disk.iterdir())) == 2


def trained(seed=0):
    model = build(seed=seed).train()
    optimizer = optimizers.build(model, Recipe(steps=1))
    for _ in range(2):
        model(torch.arange(V)[None]).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_a_training_comes_back_with_its_random_numbers(tmp_path):
    model, optimizer = trained()
    save_training(tmp_path, model, optimizer, {"step": 2, "rows": [{"step": 2, "train_loss": 0.1 + 0.2}]})
    expected = torch.rand(5)
    again, optimizer_again = trained(seed=1)
    facts = load_training(tmp_path, again, optimizer_again)
    assert torch.equal(torch.rand(5), expected)
    assert facts == {"step": 2, "rows": [{"step": 2, "train_loss": 0.1 + 0.2}], "file": "training-2.safetensors"}
    assert same(again, model)
    state, state_again = (
        {index: {key: value.tolist() for key, value in entry.items()} for index, entry in each.state_dict()["state"].items()}
        for each in (optimizer, optimizer_again)
    )
    assert state == state_again


def test_nothing_saved_is_a_beginning(tmp_path):
    assert load_training(tmp_path / "never", *trained()) is None


def test_the_state_before_is_removed_when_the_next_is_good(tmp_path):
    for step in (1, 2):
        save_training(tmp_path, *trained(), {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training-2.safetensors", "training.json"]


@pytest.mark.parametrize("name", ["training.json", "training-2.safetensors"])
def test_a_disk_that_is_full_leaves_the_state_before(tmp_path, monkeypatch, name):
    model, optimizer = trained()
    save_training(tmp_path, model, optimizer, {"step": 1})
    original = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: full_disk() if name in str(Path(f"/proc/self/fd/{file}").readlink()) else original(file))
    with pytest.raises(UserError, match="could not be written"):
        save_training(tmp_path, *trained(seed=1), {"step": 2})
    monkeypatch.undo()
    again, optimizer_again = trained(seed=2)
    assert load_training(tmp_path, again, optimizer_again)["step"] == 1
    assert same(again, model)


def test_a_damaged_state_is_named(tmp_path):
    save_training(tmp_path, *trained(), {"step": 2})
    tensors = tmp_path / "training-2.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"training-2\.safetensors: truncated"):
        load_training(tmp_path, *trained())
    tensors.unlink()
    with pytest.raises(UserError, match=r"training-2\.safetensors: no such file"):
        load_training(tmp_path, *trained())
    for content in ("{}", "[]"):
        (tmp_path / "training.json").write_text(content)
        with pytest.raises(UserError, match=r"training\.json: not a saved training"):
            load_training(tmp_path, *trained())


def test_a_copied_folder_replaces_what_was_there(folder, tmp_path):
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    (target / "old").write_text("")
    checkpoints.copy(folder, target)
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors"]


def test_the_seeds_of_a_run(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"run": "classic", "seeds": [0, 2]}))
    assert checkpoints.seeds_of(tmp_path) == {0: tmp_path / "seed0", 2: tmp_path / "seed2"}
    with pytest.raises(UserError, match="no such file"):
        checkpoints.seeds_of(tmp_path / "other")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json: names no seeds; train the run again"):
        checkpoints.seeds_of(tmp_path)
