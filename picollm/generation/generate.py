"""Token by token, from a cache of keys and values or from a recurrent state: every token is computed once.

Shapes: B batch, T prompt, N new tokens.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from picollm.errors import UserError
from picollm.generation.sampling import Sampling, choose
from picollm.models import Model


@torch.inference_mode()
def stream(model: Model, prompt: Tensor, length: int, sampling: Sampling, seed: int = 0, parameter: str = "prompt") -> Iterator[Tensor]:
    """Yield (B,) ids, `length` times, continuing `prompt` (B, T).

    Raises UserError when the prompt, which came from `parameter`, is empty, or too long for the model together with what is asked for.
    """
    T = prompt.shape[1]
    if T == 0:
        raise UserError(f"{parameter}: is empty; give at least one token")
    if model.max_length is not None and T + length - 1 > model.max_length:
        raise UserError(f"{parameter}: {T} tokens and {length} new ones exceed the model's longest sequence of {model.max_length}; shorten either")
    generator = torch.Generator(model.device).manual_seed(seed)
    state = model.empty_state(prompt.shape[0], T + length)
    ids = prompt.to(model.device)
    for _ in range(length):
        chosen = choose(model.logits(ids, state)[:, -1], sampling, generator)
        yield chosen
        ids = chosen.unsqueeze(1)


def generate(
    model: Model, prompt: Tensor, length: int, sampling: Sampling, seed: int = 0, stop: int | None = None, parameter: str = "prompt"
) -> list[list[int]]:
    """The new ids of each sequence, cut before `stop` when it comes up."""
    columns: list[Tensor] = []
    finished = torch.zeros(prompt.shape[0], dtype=torch.bool, device=model.device)
    for chosen in stream(model, prompt, length, sampling, seed, parameter):
        columns.append(chosen)
        finished |= chosen == (-1 if stop is None else stop)
        if finished.all():
            break
    rows: list[list[int]] = torch.stack(columns, 1).tolist() if columns else [[] for _ in range(prompt.shape[0])]
    return [row[: row.index(stop)] if stop in row else row for row in rows]
