"""What a model remembers of a sequence while it goes on writing."""

from collections.abc import Iterator
from typing import Any

import torch

from picollm.nn.model import Model


@torch.inference_mode()
def kilobytes(model: Model, context: int) -> float:
    """What the state of one sequence takes after a token, with room for `context` tokens where it grows with them."""
    state = model.empty_state(1, context)
    model(torch.zeros(1, 1, dtype=torch.long), state=state)
    found = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in _tensors(state)}
    return sum(found.values()) / 1000


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All that a state holds, whatever kind of model it belongs to."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
    elif hasattr(value, "__dict__"):
        yield from _tensors(list(vars(value).values()))
