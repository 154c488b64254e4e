"""Normalisation by name: layer norm (arXiv 1607.06450) and RMS norm (arXiv 1910.07467)."""

from typing import Literal

from torch import nn

Norm = Literal["layernorm", "rmsnorm"]
EPS = 1e-5  # of GPT-2, Llama 3 and gpt-oss


def norm(kind: Norm, width: int, bias: bool, eps: float = EPS) -> nn.Module:
    return nn.RMSNorm(width, eps=eps) if kind == "rmsnorm" else nn.LayerNorm(width, eps=eps, bias=bias)
