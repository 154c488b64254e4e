"""A disk that really fills while something is saved: one line that names the file, and what was there before is there still."""

import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm import load, models
from picollm.core.errors import UserError
from picollm.core.files import write_csv, write_json
from picollm.core.tokens import write_split
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import Document
from picollm.tasks.text.raw import writing
from picollm.training import checkpoints, optimizers
from picollm.training.checkpoints import load_training, save_model, save_training
from picollm.training.recipe import Recipe

PAGE = os.sysconf("SC_PAGE_SIZE")  # tmpfs gives its space away in these
DISK = 256 * PAGE
SMALL = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 16}
LARGE = {**SMALL, "d_model": 64}


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of a megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid():
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},nr_inodes=64", "tmpfs", str(path)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield path
    gc.collect()  # a parquet writer that could not close its file keeps it open until it is collected
    subprocess.run(["umount", str(path)], check=True)


def free(disk: Path) -> int:
    return os.statvfs(disk).f_bavail * PAGE


def fill(disk: Path, room: int) -> None:
    """Leave `room` bytes."""
    (disk / "filler").write_bytes(bytes(free(disk) - room))
    assert free(disk) == room


def pages_of(size: int) -> int:
    return -(-size // PAGE)


def content(folder: Path) -> dict[str, bytes]:
    """{path: bytes} of all that is there, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def noise(size: int) -> str:
    """Text that does not compress to nothing."""
    return np.random.default_rng(size).bytes(size // 2).hex()


def block(size: int) -> dict[str, object]:
    """A model of some `size` bytes."""
    return SMALL if size < 50_000 else LARGE


def model_of(size: int) -> models.Model:
    torch.manual_seed(size)
    return models.build(block(size), 11, "model")


def save_parquet(folder: Path, size: int) -> None:
    with writing(folder / "train.parquet", Config(kind="text", source="notebook", tokenizer={"kind": "chars"})) as split:
        for part in range(8):
            split.add(Document(noise(size // 4 + part), "train"))
            split.flush()


def save_state(folder: Path, size: int, step: int = 5) -> None:
    model = model_of(size)
    optimizer = optimizers.build(model, Recipe(steps=10))
    model.logits(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
    optimizer.step()
    save_training(folder, model, optimizer, {"step": step})


def copy_checkpoint(folder: Path, size: int) -> None:
    source = folder.parents[1] / f"source{size}"  # not on the small disk
    save_model(source, model_of(size), {"model": block(size)})
    checkpoints.copy(source, folder / "seed0")


WRITERS: dict[str, tuple[Callable[[Path, int], object], str]] = {  # what saves about `size` bytes in a folder, and the file that does not fit
    "json": (lambda folder, size: write_json(folder / "value.json", noise(size)), "value.json"),
    "csv": (lambda folder, size: write_csv(folder / "curve.csv", ["text"], [{"text": noise(100)}] * (size // 100)), "curve.csv"),
    "tokens": (lambda folder, size: write_split(folder, "train", [np.full(size // 16, 7)] * 8, 100), "train.bin"),
    "parquet": (save_parquet, "train.parquet"),
    "model": (lambda folder, size: save_model(folder, model_of(size), {"model": block(size)}), "model.safetensors"),
    "training": (save_state, "training-5.safetensors"),
}


def refused(save: Callable[[], object], path: Path, reason: str = "No space left on device") -> None:
    """One line that names the file, the reason and what to do."""
    with pytest.raises(UserError) as caught:
        save()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: could not be written (")
    assert reason in message
    assert "free some space" in message


@pytest.mark.parametrize("share", [0, 0.5, 1], ids=["full", "fills half-way", "the last page does not fit"])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_old_file_survives(disk, tmp_path, kind, share):
    save, name = WRITERS[kind]
    save(tmp_path / "elsewhere", 200_000)
    pages = pages_of((tmp_path / "elsewhere" / name).stat().st_size)
    folder = disk / "folder"
    save(folder, 10_000)
    before = content(folder)
    assert name in before
    room = int(share * (pages - 1)) * PAGE
    fill(disk, room)
    refused(lambda: save(folder, 200_000), folder / name)
    assert content(folder) == before
    gc.collect()
    assert free(disk) == room


@pytest.mark.parametrize("kind", WRITERS)
def test_with_room_again_the_new_file_is_written(disk, kind):
    save, name = WRITERS[kind]
    folder = disk / "folder"
    save(folder, 10_000)
    before = content(folder)
    fill(disk, 0)
    refused(lambda: save(folder, 200_000), folder / name)
    (disk / "filler").unlink()
    save(folder, 200_000)
    assert content(folder).keys() == before.keys()
    assert content(folder)[name] != before[name]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_first_file_leaves_nothing(disk, kind):
    save, name = WRITERS[kind]
    fill(disk, 20 * PAGE)
    refused(lambda: save(disk / "folder", 200_000), disk / "folder" / name)
    assert content(disk / "folder") == {}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_without_room_for_one_more_name(disk, kind):
    """A folder that cannot be made is told like a file that cannot be written."""
    save, name = WRITERS[kind]
    while os.statvfs(disk).f_favail:
        (disk / f"empty{os.statvfs(disk).f_favail}").touch()
    refused(lambda: save(disk / "folder", 10_000), disk / "folder" / name)
    assert not (disk / "folder").exists()


def test_a_saved_training_goes_on_from_before_when_its_second_file_does_not_fit(disk):
    """Tensors and JSON are two files: the JSON of step 5 must not end up with the tensors of step 10."""
    folder = disk / "state"
    save_state(folder, 10_000, step=5)
    before = content(folder)
    fill(disk, pages_of(len(before["training-5.safetensors"])) * PAGE)
    refused(lambda: save_state(folder, 10_000, step=10), folder / "training.json")
    assert content(folder).items() >= before.items()
    model = model_of(10_000)
    assert load_training(folder, model, optimizers.build(model, Recipe(steps=10)))["step"] == 5
    (disk / "filler").unlink()
    save_state(folder, 10_000, step=10)
    assert content(folder).keys() == {"training.json", "training-10.safetensors"}


def test_a_copy_of_a_checkpoint(disk):
    fill(disk, 20 * PAGE)
    refused(lambda: copy_checkpoint(disk, 200_000), disk / "seed0" / "model.safetensors")
    (disk / "filler").unlink()
    copy_checkpoint(disk, 200_000)
    assert content(disk / "seed0").keys() == {"config.json", "model.safetensors"}
    assert load(disk / "seed0").n_parameters == model_of(200_000).n_parameters
