"""Causal softmax attention (arXiv 1706.03762) through PyTorch's fused kernel, with a preallocated key-value cache.

Two repairs of its failure on longer sequences: a norm on every head's output, whose variance otherwise falls with the
number of tokens averaged over (arXiv 2504.02827), and logits that grow with the logarithm of that number, so that
weights stay as sharp (scalable softmax, arXiv 2501.19399).

Shapes: B batch, H heads, T new tokens, S tokens so far, K head width.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn.positions import alibi_slopes
from picollm.nn.taps import Recorder, Tap

Scale = Literal["constant", "log"]


class KVCache:
    """Keys and values of the tokens so far, in memory reserved once for `length` of them."""

    def __init__(self, batch: int, heads: int, length: int, width: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch, heads, length, width)
        self.values = torch.empty_like(self.keys)
        self.count = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v: (B, H, T, K) -> all keys and values so far (B, H, S, K), as views."""
        end = self.count + k.shape[2]
        assert end <= self.keys.shape[2], f"the cache was made for {self.keys.shape[2]} tokens"
        self.keys[:, :, self.count : end] = k
        self.values[:, :, self.count : end] = v
        self.count = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class SoftmaxKernel(nn.Module):
    slopes: Tensor

    def __init__(self, n_head: int, width: int, alibi: bool, scale: Scale, output_norm: bool, dropout: float) -> None:
        super().__init__()
        self.n_head, self.width, self.dropout = n_head, width, dropout
        self.register_buffer("slopes", alibi_slopes(n_head) if alibi else None, persistent=False)
        self.sharpness = nn.Parameter(torch.full((n_head,), 0.43)) if scale == "log" else None  # 1 / log 10: as usual over ten tokens
        self.norm = nn.RMSNorm(width, eps=1e-5) if output_norm else None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, tap: Tap, site: str, memory: KVCache | None, start: int) -> Tensor:
        """(B, H, T, K) three times -> (B, H, T, K); a `memory` holds the tokens before and then these too."""
        if self.sharpness is not None:
            counts = torch.arange(start + 1, start + 1 + q.shape[2], device=q.device, dtype=q.dtype)[:, None]
            q = q * (self.sharpness[:, None, None] * counts.log())
        T = q.shape[2]
        if memory is not None:
            k, v = memory.append(k, v)
        S = k.shape[2]
        bias: Tensor | None = None
        if self.slopes is not None:
            bias = self._bias(T, S)
        elif 1 < T < S:  # a single new token sees everything; without tokens before, the kernel masks by itself
            bias = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
        dropout = self.dropout if self.training else 0.0
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=bias is None and T == S)
        return z if self.norm is None else self.norm(z)

    def _bias(self, T: int, S: int) -> Tensor:
        """(H, T, S): ALiBi, the cost of a key's distance; the last of S tokens is the last of T."""
        positions = torch.arange(S, device=self.slopes.device)
        back = positions[S - T :, None] - positions
        return (-self.slopes[:, None, None] * back).masked_fill(back < 0, float("-inf"))

    def empty(self, batch: int, length: int, like: Tensor) -> KVCache:
        return KVCache(batch, self.n_head, length, self.width, like)

    def weights(self, recorder: Recorder, site: str) -> Tensor:
        """The attention matrix of a recorded pass, for looking at it: (B, H, T, T), rows sum to 1."""
        q, k = recorder[f"{site}q"], recorder[f"{site}k"]
        T = q.shape[2]
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if self.sharpness is not None:
            scores = scores * (self.sharpness[:, None, None] * torch.arange(1, T + 1, device=q.device, dtype=q.dtype)[:, None].log())
        if self.slopes is not None:
            scores = scores + self._bias(T, T)
        above = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
        return scores.masked_fill(above, float("-inf")).softmax(-1)
