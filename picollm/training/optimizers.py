"""Optimisers by name: AdamW (arXiv 1711.05101), with weight decay on matrices alone."""

import torch
from torch import nn

from picollm.training.recipe import Recipe


def build(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Norm gains and biases are not decayed: they set a scale that decay would only fight."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.betas[0], recipe.betas[1]), fused=True)
