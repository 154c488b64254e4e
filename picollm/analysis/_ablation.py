"""What a part of a model is worth: the loss without it, less the loss with it, on the very same sequences.

| a value becomes | why                                                                                                       |
|-----------------|-----------------------------------------------------------------------------------------------------------|
| zero            | simplest, and far from anything that training has seen: it also takes away what is the same in all inputs |
| mean            | its mean over sequences and places: what it tells of this sequence is gone, its usual size stays          |
| resampled       | that of another sequence at the same place: in distribution, and a wrong answer in place of none          |

Sources: Michel et al. 2019 (arXiv 1905.10650) for zero; Zhang & Nanda 2024 (2309.16042) and Miller et al. 2024 (2407.08734) for what
the choice does to the result.

Shapes: N sequences, T tokens, H heads.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from picollm.analysis._losses import parts, per_sequence
from picollm.core import statistics
from picollm.models import Model
from picollm.nn.taps import Editor, Recorder
from picollm.training.batches import Batch

How = Literal["zero", "mean", "resampled"]
HOWS: tuple[How, ...] = ("zero", "mean", "resampled")
KINDS = {"head": "z", "attention": "attn_out", "mlp": "mlp_post"}  # and where each is taken hold of
TOGETHER = 2048  # tokens of one pass: small ones cost little but the calls


class Part(NamedTuple):
    """A head, all of a layer's attention, or its MLP's neurons."""

    kind: str
    layer: int
    head: int = -1  # of a head alone

    @property
    def site(self) -> str:
        return f"{self.layer}.{KINDS[self.kind]}"


def heads_of(model: Model) -> list[Part]:
    """Layer by layer; a convolution has none."""
    c = model.config
    return [] if c.attention == "convolution" else [Part("head", layer, head) for layer in range(c.depth) for head in range(c.n_head)]


def layers_of(model: Model) -> list[Part]:
    """The attention of each layer, then the MLPs."""
    return [Part(kind, layer) for kind in ("attention", "mlp") for layer in range(model.config.depth)]


class Ablation:
    """A model and sequences: what each part puts out on them is recorded once, and `without` gives the loss when some of it is replaced."""

    def __init__(self, model: Model, batch: Batch, chosen: Sequence[Part]) -> None:
        self.model, self.batch, self.slices = model, batch, parts(model, batch)
        sites = {part.site for part in chosen}
        recorded: dict[str, list[Tensor]] = defaultdict(list)
        losses = []
        for some in self.slices:
            recorder = Recorder(sites)
            losses.append(per_sequence(model, Batch(batch.inputs[some], batch.targets[some]), recorder))
            for site in sites:
                recorded[site].append(recorder[site])
        self.loss = np.concatenate(losses)  # (N,)
        self.values = {site: torch.cat(values) for site, values in recorded.items()}

    def without(self, sets: Sequence[Sequence[Part]], how: How) -> np.ndarray:
        """(S, N) nats that the sequences cost more when the parts of each set are replaced, all of them at once."""
        size = max(1, TOGETHER // self.batch.inputs.numel()) if len(self.slices) == 1 else 1
        groups = [sets[start : start + size] for start in range(0, len(sets), size)]
        return np.concatenate([np.concatenate([self._pass(group, how, some) for some in self.slices], 1) for group in groups]) - self.loss

    def _pass(self, sets: Sequence[Sequence[Part]], how: How, some: slice) -> np.ndarray:
        """(S, N): the sequences once for each set, one below the other in one pass."""
        edits: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, chosen in enumerate(sets):
            for part in chosen:
                edits[part.site].append((number, part.head))
        inputs, targets = (x[some].repeat(len(sets), 1) for x in (self.batch.inputs, self.batch.targets))
        editor = Editor({site: _replaced(self._replacement(site, how)[some], where) for site, where in edits.items()})
        return per_sequence(self.model, Batch(inputs, targets), editor).reshape(len(sets), -1)

    def _replacement(self, site: str, how: How) -> Tensor:
        value = self.values[site]
        if how == "zero":
            return torch.zeros_like(value)
        if how == "resampled":
            return value.roll(1, 0)  # the next sequence's; no sequence keeps its own
        return value.mean((0, -2), keepdim=True).expand_as(value)  # time is the last axis but one at every site


def _replaced(replacement: Tensor, where: list[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """An edit of (S N, H, T, V), or of (S N, T, D), that replaces the heads, or all, of some of the S copies."""

    def edit(value: Tensor) -> Tensor:
        value, N = value.clone(), len(replacement)
        for number, head in where:
            if head < 0:
                value[number * N : (number + 1) * N] = replacement
            else:
                value[number * N : (number + 1) * N, head] = replacement[:, head]
        return value

    return edit


def interval(values: np.ndarray, level: float = 0.95) -> dict[str, float]:
    """The ends of the interval for the mean over sequences (N,); of a single one there is none, and both are its value."""
    summary = statistics.summary(values.tolist(), level)
    return {key: summary.get(key, summary["mean"]) for key in ("low", "high")}
