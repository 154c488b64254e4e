"""The position-wise network of a block: GELU (arXiv 1606.08415) or SwiGLU (arXiv 2002.05202).

Shapes: B batch, T time, D model width, F inner width.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn.taps import Tap, untapped

Activation = Literal["gelu", "swiglu"]


class MLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int, activation: Activation, bias: bool) -> None:
        super().__init__()
        self.gated = activation == "swiglu"
        self.up = nn.Linear(d_model, 2 * d_ff if self.gated else d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor, tap: Tap = untapped, site: str = "") -> Tensor:
        """(B, T, D) -> (B, T, D); taps `mlp_pre` before and `mlp_post` after the activation."""
        inner = tap(f"{site}mlp_pre", self.up(x))
        if self.gated:
            gate, value = inner.chunk(2, -1)
            inner = F.silu(gate) * value
        else:
            inner = F.gelu(inner)
        out: Tensor = self.down(tap(f"{site}mlp_post", inner))
        return out
