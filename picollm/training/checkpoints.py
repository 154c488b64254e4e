"""Checkpoints: a folder of safetensors and JSON, enough to rebuild the model, or to resume a training; nothing is unpickled."""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from picollm import models
from picollm.core.errors import UserError
from picollm.core.files import atomic, read_json, write_json

if TYPE_CHECKING:  # who only loads a model does not depend on optimisers
    from picollm.training.optimizers import Optimizer

FORMAT = 1


def save_model(folder: Path, model: models.Model, facts: dict[str, Any]) -> None:
    """`facts` (the model's block in params.yaml, its tokenizer, fingerprint, ...) stand in config.json beside the weights."""
    weights = {name: value for name, value in model.state_dict().items() if not _is_tied_copy(model, name)}
    save_tensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", {"format": FORMAT, "vocab_size": model.vocab_size, **facts})


def read_config(folder: Path, *needed: str) -> dict[str, Any]:
    """Raises UserError for a config.json that is none of ours, or lacks the facts that are `needed`."""
    config = read_json(folder / "config.json") if folder.is_dir() else None
    if config is None:
        raise UserError(f"{folder}: no such checkpoint folder; train the run first (dvc repro), or name one that has model.safetensors")
    if not isinstance(config, dict) or config.get("format") != FORMAT or not {"model", "vocab_size"} <= set(config):
        raise UserError(f"{folder / 'config.json'}: not a checkpoint of format {FORMAT}; train the run again (dvc repro)")
    if missing := set(needed) - set(config):
        raise UserError(f"{folder / 'config.json'}: says nothing of {', '.join(sorted(missing))}; train the run again (dvc repro)")
    return config


def load_model(folder: Path) -> models.Model:
    """The model in evaluation mode, on the CPU. Raises UserError for a folder that is missing, truncated or of another model."""
    config = read_config(folder)
    model = models.build(config["model"], config["vocab_size"], f"{folder / 'config.json'}: model")
    fill(model, _load(folder / "model.safetensors"), folder)
    return model.eval()


def save_training(folder: Path, model: models.Model, optimizer: "Optimizer", facts: dict[str, Any]) -> None:
    """Everything that the next step depends on, as one atomic pair: the JSON, written last, names the tensor file it belongs to."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items() if not _is_tied_copy(model, name)}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    tensors["random"] = torch.get_rng_state()
    if model.device.type == "cuda":  # dropout draws where the model is
        tensors["random_cuda"] = torch.cuda.get_rng_state(model.device)
    name = f"training-{facts['step']}.safetensors"
    save_tensors(folder / name, tensors)
    write_json(folder / "training.json", {**facts, "file": name})
    for old in folder.glob("training-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_training(folder: Path, model: models.Model, optimizer: "Optimizer") -> dict[str, Any] | None:
    """Put a saved training back into `model` and `optimizer`; its facts, or None when nothing was saved."""
    if not (folder / "training.json").exists():
        return None
    facts: dict[str, Any] = read_json(folder / "training.json")
    if not isinstance(facts, dict) or "file" not in facts:
        raise UserError(f"{folder / 'training.json'}: not a saved training; remove {folder} and train the run again (dvc repro)")
    tensors = _load(folder / facts["file"])
    torch.set_rng_state(tensors["random"])
    if model.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random_cuda"], model.device)
    fill(model, {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}, folder)
    whole = optimizer.state_dict()
    whole["state"] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            whole["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(whole)
    return facts


def seed_everything(seed: int) -> None:
    """Initial weights and dropout; batches have generators of their own."""
    torch.manual_seed(seed)


def copy(source: Path, target: Path) -> None:
    """Make the folder `target` a copy of `source`."""
    shutil.rmtree(target, ignore_errors=True)
    for path in source.rglob("*"):
        if path.is_file():
            with atomic(target / path.relative_to(source)) as temporary:  # not copytree, whose error on a full disk names no single file
                shutil.copyfile(path, temporary)


def _is_tied_copy(model: models.Model, name: str) -> bool:
    """A head tied to the embedding is stored once."""
    return name == "head.weight" and bool(getattr(model.config, "tie_embeddings", False))


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Raises OSError with the number of what went wrong, as any other writing does."""
    with atomic(path) as temporary:
        try:
            save_file({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, temporary, metadata)
        except SafetensorError as error:  # its Rust side wraps "No space left on device (os error 28)"
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code) if number else str(error)) from error


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; train the run again (dvc repro)") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or not a safetensors file ({error}); remove it and train the run again (dvc repro)") from error


def fill(model: models.Model, weights: dict[str, Tensor], folder: Path) -> None:
    """Put `weights`, which came from `folder`, into the model. Raises UserError when they are not exactly its own."""
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        mismatch = str(error).splitlines()[-1].strip()
        raise UserError(f"{folder}: the weights do not fit the model that config.json describes ({mismatch}); train the run again (dvc repro)") from error
    missing = [name for name in missing if not _is_tied_copy(model, name)]
    unexpected += [name for name in weights if _is_tied_copy(model, name)]  # it would silently become the embedding
    if missing or unexpected:
        raise UserError(f"{folder}: weights of another model (missing {missing[:3]}, unexpected {unexpected[:3]}); use those that belong to config.json")


def seeds_of(run: Path) -> dict[int, Path]:
    """{seed: its checkpoint folder} of data/checkpoints/RUN; empty for a run that is not part of the budget."""
    facts = read_json(run / "run.json")
    if not isinstance(facts, dict) or "seeds" not in facts:
        raise UserError(f"{run / 'run.json'}: names no seeds; train the run again (dvc repro)")
    return {int(seed): run / f"seed{seed}" for seed in facts["seeds"]}
