"""Causal softmax attention (arXiv 1706.03762) through PyTorch's fused kernel, with a preallocated key-value cache.

Shapes: B batch, H heads, T new tokens, S tokens so far, K head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


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


def weights(q: Tensor, k: Tensor) -> Tensor:
    """The attention matrix, for looking at it. (B, H, T, K) twice -> (B, H, T, T), rows sum to 1."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    above = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(above, float("-inf")).softmax(-1)


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """(B, H, T, K) three times -> (B, H, T, K)."""
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


def extend(q: Tensor, k: Tensor, v: Tensor, cache: KVCache) -> Tensor:
    """The outputs of T further tokens, which the cache then holds too."""
    T, before = q.shape[2], cache.count
    keys, values = cache.append(k, v)
    if before == 0:
        return attend(q, k, v)
    mask = None if T == 1 else torch.ones(T, before + T, dtype=torch.bool, device=q.device).tril(before)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
