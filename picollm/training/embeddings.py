"""Start from the token embeddings of another trained model: `init_embedding_from: data/checkpoints/RUN/seed0@DIGEST`.

The digest names the embeddings themselves, so that the parameters decide what a training gives, whatever became of the other
run since (docs/design.md says why that is not a dependency of DVC's).
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from picollm.core.errors import UserError
from picollm.nn.model import Model
from picollm.training.checkpoints import read_config

FORM = re.compile(r"(.+)@([0-9a-f]{12})")


def digest(table: Tensor) -> str:
    """12 hexadecimal digits of the shape and the numbers of a table (V, D)."""
    data = table.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()[:12]


def start_from(model: Model, reference: str, tokenizer: dict[str, Any], path: str) -> None:
    """Copy the embeddings that `reference` names into the model's; `tokenizer` is that of the training data.

    Raises UserError, blaming the parameter `path`, for a model without embeddings, another vocabulary, width or tokenizer,
    or embeddings that are not those of the digest.
    """
    own = getattr(model, "embed", None)
    if not isinstance(own, nn.Embedding):
        raise UserError(f"{path}: this model has no table of token embeddings to start from another's; remove it")
    match = FORM.fullmatch(reference)
    folder = Path(match[1] if match else reference)
    table, facts = _table(folder, path)
    if not match or match[2] != digest(table):
        found = "gives no digest" if not match else f"has other embeddings than those of {match[2]}"
        raise UserError(f"{path}: {folder} {found}; if those it has now are meant, write {folder}@{digest(table)}")
    for what, theirs, ours in (("vocabulary", len(table), own.num_embeddings), ("width", table.shape[1], own.embedding_dim)):
        if theirs != ours:
            raise UserError(f"{path}: {folder} has embeddings of {what} {theirs}, this model of {ours}; make them alike")
    if facts.get("tokenizer", tokenizer) != tokenizer:
        raise UserError(f"{path}: {folder} was trained with another tokenizer, whose ids mean other tokens; take a run of the same task")
    with torch.no_grad():
        own.weight.copy_(table)


def _table(folder: Path, path: str) -> tuple[Tensor, dict[str, Any]]:
    """(V, D), and the facts of the checkpoint. Read from the file: which model it belongs to does not matter."""
    try:
        facts = read_config(folder)
        with safe_open(folder / "model.safetensors", "pt") as file:
            if "embed.weight" not in file.keys():  # noqa: SIM118 (no dictionary)
                raise UserError(f"{folder} has no table of token embeddings")
            return file.get_tensor("embed.weight"), facts
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: {folder / 'model.safetensors'} cannot be read ({error}); train that run again") from error
