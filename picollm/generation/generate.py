"""Token by token, from a cache of keys and values or from a recurrent state: every token is computed once.

A row's chance comes from its own seed, so that its text is the same whatever else is in the batch. Rows of one length go
together and nothing is padded: a recurrent state could not unsee a pad.

Shapes: B batch, T prompt, S tokens so far.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from picollm.core.errors import UserError
from picollm.generation.sampling import Sampling, choose
from picollm.models import Model


@dataclass(frozen=True)
class Continuation:
    """What a model wrote after a prompt."""

    ids: list[int]  # without the stop token
    nats: list[float]  # -log p of each, and of the stop token, under the model as it is: temperature 1, no filter
    stopped: bool  # by a stop token, not by the length


def generate(
    model: Model,
    prompts: Sequence[Sequence[int]],
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    stop: Collection[int] = (),
    parameter: str = "prompt",
) -> list[Continuation]:
    """Continue each prompt, by its seed, with at most `length` tokens or up to one of `stop`.

    Raises UserError when a prompt, which came from `parameter`, is empty, or too long for the model together with what is asked for.
    """
    results: dict[int, Continuation] = {}
    for T in sorted({len(prompt) for prompt in prompts}):
        check(model, T, length, parameter)
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) == T]
        ids = torch.tensor([prompts[row] for row in rows])
        results |= zip(rows, _continue(model, ids, length, sampling, [seeds[row] for row in rows], stop), strict=True)
    return [results[row] for row in range(len(prompts))]


def check(model: Model, T: int, length: int, parameter: str) -> None:
    """Raises UserError when a prompt of T tokens, which came from `parameter`, is empty, or too long for `length` more."""
    if T == 0:
        raise UserError(f"{parameter}: is empty; give at least one token")
    if model.max_length is not None and T + length - 1 > model.max_length:
        raise UserError(f"{parameter}: {T} tokens and {length} new ones exceed the model's longest sequence of {model.max_length}; shorten either")


@torch.inference_mode()
def steps(model: Model, ids: Tensor, length: int, sampling: Sampling, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Continue (B, T) ids, one token after the other: the logits (B, V) of the model as it is, and the tokens (B, 1) that were chosen from them."""
    B, T = ids.shape
    uniform = torch.from_numpy(np.stack([np.random.Generator(np.random.PCG64(seed)).random(length) for seed in seeds]))
    state = model.empty_state(B, T + length)
    ids = new = ids.to(model.device)
    for step in range(length):
        logits = model.logits(new, state=state)[:, -1].float()
        new = choose(logits, sampling, ids, uniform[:, step]).unsqueeze(1)
        ids = torch.cat([ids, new], 1)  # (B, S)
        yield logits, new


@torch.inference_mode()
def _continue(model: Model, ids: Tensor, length: int, sampling: Sampling, seeds: Sequence[int], stop: Collection[int]) -> list[Continuation]:
    """ids: (B, T)."""
    stops = torch.tensor(sorted(stop), dtype=torch.long, device=model.device)
    written: list[Tensor] = []
    nats: list[Tensor] = []
    finished = torch.zeros(len(ids), dtype=torch.bool, device=model.device)
    for logits, new in steps(model, ids, length, sampling, seeds):
        written.append(new)
        nats.append(-logits.log_softmax(-1).gather(1, new))
        finished |= torch.isin(new.squeeze(1), stops)
        if finished.all():
            break
    return [_cut(row, costs, stop) for row, costs in zip(torch.cat(written, 1).tolist(), torch.cat(nats, 1).tolist(), strict=True)]


def _cut(ids: list[int], nats: list[float], stop: Collection[int]) -> Continuation:
    end = next((place for place, token in enumerate(ids) if token in stop), None)
    return Continuation(ids, nats, False) if end is None else Continuation(ids[:end], nats[: end + 1], True)
