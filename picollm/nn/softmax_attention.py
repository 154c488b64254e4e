"""Causal softmax attention (arXiv 1706.03762) through PyTorch's fused kernel, with a preallocated key-value cache.

Two repairs of its failure on longer sequences: a norm on every head's output, whose variance otherwise falls with the
number of tokens averaged over (arXiv 2504.02827), and logits that grow with the logarithm of that number, so that
weights stay as sharp (scalable softmax, arXiv 2501.19399).

Groups of query heads may share a key and value head (arXiv 2305.13245), a token may see a window of the last tokens alone
(arXiv 1904.10509), and a sink, a learned logit a head, may take weight that no token deserves (gpt-oss; arXiv 2309.17453).

Shapes: B batch, H heads, G key-value heads, T new tokens, S tokens so far, or as many as a window needs, K head width.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn.norms import EPS
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
        """k, v: (B, G, T, K) -> all keys and values so far (B, G, S, K), as views."""
        end = self.count + k.shape[2]
        assert end <= self.keys.shape[2], f"the cache was made for {self.keys.shape[2]} tokens"
        self.keys[:, :, self.count : end] = k
        self.values[:, :, self.count : end] = v
        self.count = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class WindowCache:
    """Keys and values of those tokens alone that the next one still sees: constant in size however long the context."""

    def __init__(self, batch: int, heads: int, window: int, width: int, like: Tensor) -> None:
        self.window, self.count = window, 0
        self.keys = self.values = like.new_empty(batch, heads, 0, width)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v: (B, G, T, K) -> keys and values that any of these T tokens sees, themselves included (B, G, S, K)."""
        k, v = torch.cat((self.keys, k), 2), torch.cat((self.values, v), 2)
        gone = max(0, k.shape[2] - self.window + 1)
        self.keys, self.values, self.count = k[:, :, gone:], v[:, :, gone:], self.count + k.shape[2] - self.keys.shape[2]
        return k, v


class SoftmaxKernel(nn.Module):
    slopes: Tensor

    def __init__(
        self,
        n_head: int,
        width: int,
        alibi: bool,
        scale: Scale,
        output_norm: bool,
        dropout: float,
        n_kv_head: int | None = None,
        window: int | None = None,
        sinks: bool = False,
    ) -> None:
        """A `window` counts the token itself. None: as many key-value heads as heads, and every token so far is seen."""
        super().__init__()
        self.n_head, self.n_kv_head, self.width, self.window, self.dropout = n_head, n_kv_head or n_head, width, window, dropout
        self.register_buffer("slopes", alibi_slopes(n_head) if alibi else None, persistent=False)
        self.sharpness = nn.Parameter(torch.full((n_head,), 0.43)) if scale == "log" else None  # 1 / log 10: as usual over ten tokens
        self.norm = nn.RMSNorm(width, eps=EPS) if output_norm else None
        self.sinks = nn.Parameter(torch.zeros(n_head)) if sinks else None  # 0: as much as a key without any likeness

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        x: Tensor,
        tap: Tap,
        site: str,
        memory: KVCache | WindowCache | None,
        start: int,
        seen: Tensor | None = None,
    ) -> Tensor:
        """q (B, H, T, K), k and v (B, G, T, K) -> (B, H, T, K); a `memory` holds the tokens before and then these too.

        `seen` (B, 1, T, S): who sees whom, where that is not everything before.
        """
        if self.sharpness is not None:
            counts = torch.arange(start + 1, start + 1 + q.shape[2], device=q.device, dtype=q.dtype)[:, None]
            q = q * (self.sharpness[:, None, None] * counts.log())
        T = q.shape[2]
        if memory is not None:
            k, v = memory.append(k, v)
        S = k.shape[2]
        bias = seen
        if self.slopes is not None or self.sinks is not None:
            bias = self._bias(T, S, q, seen)
        elif seen is not None:
            pass
        elif 1 < T < S or (self.window is not None and self.window < S):
            bias = self._seen(T, S, q.device)  # else a single new token sees everything, or the kernel masks by itself
        if self.sinks is not None:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))  # a key and a value of zeros: the logit is the sink's alone
        k, v = self._of_heads(k), self._of_heads(v)
        dropout = self.dropout if self.training else 0.0
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=bias is None and T == S)
        return z if self.norm is None else self.norm(z)

    def _of_heads(self, x: Tensor) -> Tensor:
        """(B, G, S, K) -> (B, H, S, K): each shared head once for every head that reads it."""
        return x if self.n_kv_head == self.n_head else x.repeat_interleave(self.n_head // self.n_kv_head, 1)

    def _seen(self, T: int, S: int, device: torch.device) -> Tensor:
        """(T, S): who sees whom; the last of S tokens is the last of T."""
        seen = torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)
        return seen if self.window is None else seen.triu(S - T - self.window + 1)

    def _bias(self, T: int, S: int, like: Tensor, seen: Tensor | None = None) -> Tensor:
        """(H or 1, T, S), or one column more for the sinks, (H, T, S + 1): what is added to the scores; of rows that see each their own, (B, ...)."""
        hidden = ~(self._seen(T, S, like.device) if seen is None else seen)
        if self.slopes is not None:  # the cost of a key's distance
            positions = torch.arange(S, device=like.device)
            costs = -self.slopes[:, None, None] * (positions[S - T :, None] - positions)
        else:
            costs = like.new_zeros(1, T, S)
        costs = costs.masked_fill(hidden, float("-inf"))
        if self.sinks is None:
            return costs
        heads = (*costs.shape[:-3], self.n_head, T)
        return torch.cat((costs.expand(*heads, S), self.sinks[:, None, None].expand(*heads, 1)), -1)

    def empty(self, batch: int, length: int, like: Tensor) -> KVCache | WindowCache:
        if self.window is not None and self.window < length:
            return WindowCache(batch, self.n_kv_head, self.window, self.width, like)
        return KVCache(batch, self.n_kv_head, length, self.width, like)

    def weights(self, recorder: Recorder, site: str) -> Tensor:
        """The attention matrix of a recorded pass, for looking at it: (B, H, T, T), rows sum to 1, or to what sinks leave of it."""
        q, k = recorder[f"{site}q"], self._of_heads(recorder[f"{site}k"])
        T = q.shape[2]
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if self.sharpness is not None:
            scores = scores * (self.sharpness[:, None, None] * torch.arange(1, T + 1, device=q.device, dtype=q.dtype)[:, None].log())
        if self.sinks is not None:
            scores = F.pad(scores, (0, 1))
        return (scores + self._bias(T, T, q, recorder.values.get(f"{site}seen"))).softmax(-1)[..., :T]

    def applied(self, weights: Tensor, v: Tensor) -> Tensor:
        """What the heads put out with these weights (B, H, T, T) on values (B, G, T, K)."""
        z = weights @ self._of_heads(v)
        return z if self.norm is None else self.norm(z)
