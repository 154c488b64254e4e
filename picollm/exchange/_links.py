"""Which of their tensors a tensor of ours is made of, in both directions.

Linear maps of ours are (O, I). Rotary channels of ours are neighbours in pairs, those of transformers lie half a head apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Link:
    ours: str
    theirs: tuple[str, ...]
    split: Callable[[Tensor], list[Tensor]]  # ours into theirs
    join: Callable[[list[Tensor]], Tensor]


def same(ours: str, theirs: str) -> Link:
    return Link(ours, (theirs,), lambda x: [x], lambda parts: parts[0])


def layer(ours: str, theirs: str, bias: bool = True) -> list[Link]:
    """Weight and, where they have one, bias."""
    return [same(f"{ours}.{name}", f"{theirs}.{name}") for name in (("weight", "bias") if bias else ("weight",))]


def transposed(ours: str, theirs: str) -> list[Link]:
    """GPT-2's Conv1D is a linear map (I, O)."""
    weight = Link(f"{ours}.weight", (f"{theirs}.weight",), lambda x: [x.T], lambda parts: parts[0].T)
    return [weight, same(f"{ours}.bias", f"{theirs}.bias")]


def stacked(ours: str, theirs: tuple[str, ...], rows: list[int], heads: tuple[int, ...], bias: bool) -> list[Link]:
    """Maps of `rows` outputs each that share a matrix of ours; the first of them have rotary channels, in so many `heads`."""

    def split(x: Tensor) -> list[Tensor]:
        parts = list(x.split(rows))
        return [halves(part, heads[i]) if i < len(heads) else part for i, part in enumerate(parts)]

    def join(parts: list[Tensor]) -> Tensor:
        return torch.cat([pairs(part, heads[i]) if i < len(heads) else part for i, part in enumerate(parts)])

    return [Link(f"{ours}.{name}", tuple(f"{their}.{name}" for their in theirs), split, join) for name in (("weight", "bias") if bias else ("weight",))]


def halves(x: Tensor, heads: int) -> Tensor:
    """Rows (H K, ...) whose channels are pairs -> the first of each pair, then the second, head by head."""
    return x.view(heads, -1, 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def pairs(x: Tensor, heads: int) -> Tensor:
    """The way back."""
    return x.reshape(heads, 2, -1, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def to_theirs(ours: Weights, links: list[Link]) -> Weights:
    """A bias that ours lacks is one of zeros."""
    theirs: Weights = {}
    for link in links:
        value = ours.get(link.ours)
        if value is None:
            value = torch.zeros(len(ours[_weight(link.ours)]))
        theirs |= {name: part.contiguous().clone() for name, part in zip(link.theirs, link.split(value), strict=True)}
    return theirs


def to_ours(theirs: Weights, links: list[Link]) -> Weights:
    """Likewise. Raises KeyError with the name of a weight that is missing."""
    ours: Weights = {}
    for link in links:
        parts = []
        for name in link.theirs:
            if name not in theirs and name.endswith("bias"):
                parts.append(torch.zeros(theirs[_weight(name)].shape[0]))
            else:
                parts.append(theirs[name].float())
        ours[link.ours] = link.join(parts).contiguous()
    return ours


def _weight(bias: str) -> str:
    return bias.removesuffix("bias") + "weight"
