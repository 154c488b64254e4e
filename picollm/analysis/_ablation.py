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
        for part in self.slices:
            recorder = Recorder(sites)
            losses.append(per_sequence(model, self._of(part), recorder))
            for site in sites:
                recorded[site].append(recorder[site])
        self.loss = np.concatenate(losses)  # (N,)
        self.values = {site: torch.cat(values) for site, values in recorded.items()}

    def _of(self, part: slice) -> Batch:
        return Batch(self.batch.inputs[part], self.batch.targets[part])

    def without(self, chosen: Sequence[Part], how: How) -> np.ndarray:
        """(N,) nats that the sequences cost more when these parts are replaced, all of them at once."""
        heads: dict[str, list[int]] = defaultdict(list)
        for part in chosen:
            heads[part.site].append(part.head)
        replacements = {site: self._replacement(site, how) for site in heads}
        losses = [
            per_sequence(self.model, self._of(part), Editor({site: _replaced(replacements[site][part], of) for site, of in heads.items()}))
            for part in self.slices
        ]
        return np.concatenate(losses) - self.loss

    def _replacement(self, site: str, how: How) -> Tensor:
        value = self.values[site]
        if how == "zero":
            return torch.zeros_like(value)
        if how == "resampled":
            return value.roll(1, 0)  # the next sequence's; no sequence keeps its own
        return value.mean((0, -2), keepdim=True).expand_as(value)  # time is the last axis but one at every site


def _replaced(replacement: Tensor, heads: list[int]) -> Callable[[Tensor], Tensor]:
    """An edit of (N, H, T, V) that replaces some heads, or of all of (N, T, D)."""

    def edit(value: Tensor) -> Tensor:
        if heads == [-1]:
            return replacement
        value = value.clone()
        value[:, heads] = replacement[:, heads]
        return value

    return edit


def interval(values: np.ndarray, level: float = 0.95) -> dict[str, float]:
    """The ends of the interval for the mean over sequences (N,); of a single one there is none, and both are its value."""
    summary = statistics.summary(values.tolist(), level)
    return {key: summary.get(key, summary["mean"]) for key in ("low", "high")}
