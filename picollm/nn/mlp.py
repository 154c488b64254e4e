"""The position-wise network of a block, by its activation.

| activation     | of the inner width                                  | source                           |
|----------------|-----------------------------------------------------|----------------------------------|
| gelu           | gelu(a)                                             | arXiv 1606.08415                 |
| gelu_tanh      | its approximation by tanh                           | the code of GPT-2                |
| relu2          | relu(a)^2                                           | Primer, arXiv 2109.08668         |
| swiglu         | silu(a) b                                           | arXiv 2002.05202                 |
| swiglu_clamped | a sigmoid(1.702 a) (b + 1), a <= 7, -7 <= b <= 7    | the code of gpt-oss              |

Shapes: B batch, T time, D model width, F inner width.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn.taps import Tap, untapped

Activation = Literal["gelu", "gelu_tanh", "relu2", "swiglu", "swiglu_clamped"]
GATED = ("swiglu", "swiglu_clamped")
ALPHA, LIMIT = 1.702, 7.0  # of the clamped SwiGLU: with this slope x sigmoid(alpha x) is close to gelu(x)


class MLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int, activation: Activation, bias: bool) -> None:
        super().__init__()
        self.activation = activation
        self.parts = {"up": [d_ff, d_ff]} if activation in GATED else {}  # gate, value
        self.up = nn.Linear(d_model, 2 * d_ff if activation in GATED else d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor, tap: Tap = untapped, site: str = "") -> Tensor:
        """(B, T, D) -> (B, T, D); taps `mlp_pre` before and `mlp_post` after the activation."""
        inner = self.activated(tap(f"{site}mlp_pre", self.up(x)))
        out: Tensor = self.down(tap(f"{site}mlp_post", inner))
        return out

    def activated(self, x: Tensor) -> Tensor:
        """What is between the two maps, (B, T, F or 2 F) -> (B, T, F)."""
        if self.activation == "gelu":
            return F.gelu(x)
        if self.activation == "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        if self.activation == "relu2":
            return F.relu(x).square()
        gate, value = x.chunk(2, -1)
        if self.activation == "swiglu":
            return F.silu(gate) * value
        gate, value = gate.clamp(max=LIMIT), value.clamp(-LIMIT, LIMIT)
        return gate * (ALPHA * gate).sigmoid() * (value + 1)
