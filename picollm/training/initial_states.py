"""What a recurrent model remembers before the first token of a training sequence: nothing, or the state after another one.

A model that only ever starts from nothing fails on states that it never reached in training, which is why recurrent
models break on longer sequences; starting from such states repairs it (arXiv 2507.02782).
"""

from typing import Any

import torch
from torch import Tensor

from picollm.models import Model


def begin(model: Model, ids: Tensor, kind: str) -> Any:
    """A decoding state for each row of `ids` (B, T): the one after the row before ("passed"), or noise with the mean and
    spread of all of them ("random"). Every other row starts from nothing, as generation does. "zeros" gives None.
    """
    if kind == "zeros":
        return None
    state = model.empty_state(len(ids), ids.shape[1])
    with torch.no_grad():
        model(ids, state=state)
        for memory in state.tensors():
            if kind == "passed":
                memory.copy_(memory.roll(1, 0))
            else:
                memory.copy_(memory.mean(0) + memory.std(0, correction=0) * torch.randn_like(memory))
            memory[::2] = 0
    return state
