"""One causal multi-head attention with two kernels behind it, softmax and linear.

Shapes: B batch, T time, D model width, H heads, K = D / H head width.
"""

from typing import Literal

from torch import Tensor, nn

from picollm.nn import linear_attention, softmax_attention
from picollm.nn.positions import Rotary
from picollm.nn.taps import Tap, untapped

Kind = Literal["softmax", "linear"]
Form = Literal["auto", "parallel", "chunked"]
State = softmax_attention.KVCache | linear_attention.LinearState


class Attention(nn.Module):
    """`rotary` is shared by all layers, hence handed in; None means positions were added to the embedding, or none at all."""

    def __init__(self, d_model: int, n_head: int, kind: Kind, form: Form, chunk: int, dropout: float, bias: bool, rotary: Rotary | None) -> None:
        super().__init__()
        self.n_head, self.kind, self.form, self.chunk, self.dropout = n_head, kind, form, chunk, dropout
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.rotary = [rotary]  # in a list: not a submodule of every layer

    def forward(self, x: Tensor, tap: Tap = untapped, site: str = "", state: State | None = None, start: int = 0) -> Tensor:
        """(B, T, D) -> (B, T, D). With a `state`, x are the tokens from position `start` on, and the state holds those before."""
        B, T, D = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, D // self.n_head).permute(2, 0, 3, 1, 4)  # (3, B, H, T, K)
        if self.rotary[0] is None:
            q, k, v = qkv.unbind(0)
        else:
            qk, v = qkv.split((2, 1))  # not qkv[:2] and qkv[2], whose gradients would each be padded with zeros to the whole
            q, k = self.rotary[0](qk, start).unbind(0)  # both at once: half the operator calls
            v = v.squeeze(0)
        q, k, v = tap(f"{site}q", q), tap(f"{site}k", k), tap(f"{site}v", v)
        z = tap(f"{site}z", self._mix(q, k, v, state))
        out: Tensor = self.out(z.transpose(1, 2).reshape(B, T, D))
        return out

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, state: State | None) -> Tensor:
        if isinstance(state, softmax_attention.KVCache):
            return softmax_attention.extend(q, k, v, state)
        if isinstance(state, linear_attention.LinearState):
            return linear_attention.extend(q, k, v, state, self.chunk)
        if self.kind == "softmax":
            return softmax_attention.attend(q, k, v, self.dropout if self.training else 0.0)
        return linear_attention.attend(q, k, v, self.form, self.chunk)

    def empty_state(self, batch: int, length: int, like: Tensor) -> State:
        width = self.out.in_features // self.n_head
        if self.kind == "softmax":
            return softmax_attention.KVCache(batch, self.n_head, length, width, like)
        return linear_attention.LinearState(batch, self.n_head, width, like)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, H, T, K) twice, as tapped -> (B, H, T, T): the attention matrix, for linear attention the implicit one."""
        return (softmax_attention if self.kind == "softmax" else linear_attention).weights(q, k)
