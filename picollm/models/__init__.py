"""Models, one a file: an architecture with all of its parameters, or a preset, which is a table of sizes of one."""

from typing import Any

from picollm.core import registry
from picollm.core.config import parse
from picollm.core.errors import UserError, did_you_mean
from picollm.nn.model import Model

__all__ = ["Model", "build", "configure"]


def configure(block: dict[str, Any], path: str) -> Any:
    """The `Config` that a `model:` block describes; `path` is where the block stands, for error messages.

    In the block of a preset, `size` is an entry of its `SIZES` (the first one when left out), and every other parameter
    stands instead of the size's own.
    """
    entry = registry.load("models", block.get("kind"), f"{path}.kind")
    sizes: dict[str, dict[str, Any]] | None = getattr(entry, "SIZES", None)
    if sizes is not None:
        size, own = str(block.get("size", next(iter(sizes)))), {key: value for key, value in block.items() if key != "size"}
        if size not in sizes:
            raise UserError(f"{path}.size: unknown {size!r} {did_you_mean(size, sizes)}")
        block = {**sizes[size], **own}
    return parse(entry.Config, block, path)


def build(block: dict[str, Any], vocab_size: int, path: str) -> Model:
    """The model that a `model:` block describes."""
    entry = registry.load("models", block.get("kind"), f"{path}.kind")
    model: Model = entry.Model(configure(block, path), vocab_size)
    return model
