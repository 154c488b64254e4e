"""Normalisation by name: layer norm (arXiv 1607.06450) and RMS norm (arXiv 1910.07467)."""

from typing import Literal

from torch import nn

Norm = Literal["layernorm", "rmsnorm"]


def norm(kind: Norm, width: int, bias: bool) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-5) if kind == "rmsnorm" else nn.LayerNorm(width, bias=bias)
