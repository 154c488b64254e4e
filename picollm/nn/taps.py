"""Named taps: the values inside a forward pass, handed to whoever listens, at no cost when nobody does.

A tap is any callable `tap(site, value) -> value`; returning something else than `value` edits the computation.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

ATTENDING = ("q", "k", "v", "g", "beta", "seen")  # what attention is made of, and all that its weights follow from
Tap = Callable[[str, Tensor], Tensor]


def untapped(_site: str, value: Tensor) -> Tensor:
    return value


class Recorder:
    """A tap that keeps the values of `sites` (all of them when None): `recorder["0.q"]` after the forward pass."""

    def __init__(self, sites: Collection[str] | None = None) -> None:
        self.sites = sites
        self.values: dict[str, Tensor] = {}

    def __call__(self, site: str, value: Tensor) -> Tensor:
        if self.sites is None or site in self.sites:
            self.values[site] = value.detach()
        return value

    def __getitem__(self, site: str) -> Tensor:
        return self.values[site]


def joined(recorders: Sequence[Recorder]) -> Recorder:
    """What the passes over the parts of a sequence recorded, one after another with a state, as if it had been one pass."""
    whole = Recorder()
    for site in recorders[0].values:
        name = site.rpartition(".")[2]
        time = -1 if name in ("g", "beta") else 2 if name in ATTENDING or name == "z" else 1
        whole.values[site] = torch.cat([recorder[site] for recorder in recorders], time)
    return whole


class Editor:
    """A tap that puts `edits[site](value)` in the place of a value, e.g. a head's output by zeros."""

    def __init__(self, edits: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        self.edits = edits

    def __call__(self, site: str, value: Tensor) -> Tensor:
        edit = self.edits.get(site)
        return value if edit is None else edit(value)


class PatternEditor(Recorder):
    """A tap that lets the heads of some layers apply other weights: `edits[layer]` gets those of this pass (B, H, T, T) and gives its own.

    These layers alone leave the fused kernels: their weights are built from what was recorded, edited, and applied to the values.
    """

    def __init__(self, model: Any, edits: Mapping[int, Callable[[Tensor], Tensor]]) -> None:
        super().__init__([f"{layer}.{name}" for layer in edits for name in ATTENDING])
        self.model, self.edits = model, edits

    def __call__(self, site: str, value: Tensor) -> Tensor:
        value = super().__call__(site, value)
        layer, _, name = site.partition(".")
        if name != "z" or int(layer) not in self.edits:
            return value
        attention = self.model.attentions[int(layer) % self.model.config.n_layer]
        weights = self.edits[int(layer)](attention.weights(self, f"{layer}."))
        edited: Tensor = attention.kernel.applied(weights, self[f"{layer}.v"])
        return edited
