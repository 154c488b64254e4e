"""A prediction as a sum: what the embedding, every head, every MLP and all biases put into the last layer's state.

Exact, with each norm's scale frozen as the pass had it (direct logit attribution, as in Elhage et al. 2021, "A mathematical
framework for transformer circuits"): a norm is then a linear map, and places never mix but in attention, whose outputs are
taken as they are. A head's part is its output times its own columns of the map behind it, whatever its weights were.

Shapes: N sequences, T tokens, M places, H heads, V value width, D model width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from picollm.nn.taps import Recorder

BIAS = "bias"  # of all maps and norms


class Parts:
    """Named vectors (M, D) whose sum is the residual stream."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        self.values[name] = self.values[name] + value if name in self.values else value

    def total(self) -> Tensor:
        return torch.stack(list(self.values.values())).sum(0)

    def linear(self, name: str, x: Tensor, module: nn.Linear) -> None:
        """What a map gives for x (M, I)."""
        self.add(name, x @ module.weight.mT)
        self.bias(module.bias, x)

    def bias(self, bias: Tensor | None, like: Tensor) -> None:
        if bias is not None:
            self.add(BIAS, bias.expand(len(like), -1))

    def norm(self, module: nn.Module) -> None:
        """All parts through a norm, with the scale that their sum gives it."""
        if isinstance(module, nn.Identity):
            return
        assert isinstance(module, nn.LayerNorm | nn.RMSNorm)
        total = self.total()
        centred = isinstance(module, nn.LayerNorm)
        spread = total - total.mean(-1, keepdim=True) if centred else total
        eps = module.eps
        assert eps is not None
        scale = module.weight / (spread.square().mean(-1, keepdim=True) + eps).sqrt()
        self.values = {name: (part - part.mean(-1, keepdim=True) if centred else part) * scale for name, part in self.values.items()}
        if isinstance(module, nn.LayerNorm):
            self.bias(module.bias, total)

    def join(self, other: "Parts") -> None:
        for name, value in other.values.items():
            self.add(name, value)


@torch.no_grad()
def parts(model: Any, inputs: Tensor, places: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """{"embed", "0.0" (layer.head), ..., "0.mlp", ..., "bias": (M, D)} of what the head of the model reads, and its logits (M, vocabulary).

    inputs (N, T) ids, places (N, T) bool. Not for a convolution, which has no heads.
    """
    depth = range(model.config.depth)
    recorder = Recorder(["embed", "logits", *(f"{layer}.{site}" for layer in depth for site in ("z", "mlp_post"))])
    model(inputs.to(model.device), tap=recorder)
    places = places.to(model.device)
    stream, embedded = Parts(), recorder["embed"][places]
    stream.add("embed", embedded)
    for layer in depth:
        block = model.blocks[layer % model.config.n_layer]
        if layer and model.config.input_injection:
            stream.add("embed", embedded)
        z = recorder[f"{layer}.z"].transpose(1, 2)[places]  # (M, H, V)
        out = Parts()
        for head, weight in enumerate(block.attention.out.weight.split(z.shape[-1], 1)):
            out.add(f"{layer}.{head}", z[:, head] @ weight.mT)
        out.bias(block.attention.out.bias, embedded)
        _joined(stream, out, block.norm_attention_out if block.sandwich else None, block.norm_attention if block.post else None)
        out = Parts()
        out.linear(f"{layer}.mlp", recorder[f"{layer}.mlp_post"][places], block.mlp.down)
        _joined(stream, out, block.norm_mlp_out if block.sandwich else None, block.norm_mlp if block.post else None)
    stream.norm(model.norm)
    return stream.values, recorder["logits"][places]


def _joined(stream: Parts, out: Parts, before: nn.Module | None, after: nn.Module | None) -> None:
    """A sublayer's output joins the stream: through its own norm in a sandwich, and then all of it through one with post norms."""
    if before is not None:
        out.norm(before)
    stream.join(out)
    if after is not None:
        stream.norm(after)
