"""Optimisers by name: AdamW (arXiv 1711.05101), or Muon (picollm/training/muon.py) on the matrices between embedding and head."""

from typing import Any

import torch
from torch import nn

from picollm.training.muon import Muon
from picollm.training.recipe import Recipe


class Together:
    """Two optimisers, each with parameters of its own, as one."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Numbers the parameters of one after those of the other."""
        state: dict[int, Any] = {}
        first = 0
        for optimizer in self.optimizers:
            state |= {first + index: entry for index, entry in optimizer.state_dict()["state"].items()}
            first += _count(optimizer)
        return {"state": state}

    def load_state_dict(self, whole: dict[str, Any]) -> None:
        first = 0
        for optimizer in self.optimizers:
            own = range(first, first + _count(optimizer))
            state = {index - first: entry for index, entry in whole["state"].items() if index in own}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            first = own.stop


Optimizer = torch.optim.Optimizer | Together


def build(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Norm gains and biases are not decayed: they set a scale that decay would only fight."""
    parameters = list(model.parameters())
    if recipe.optimizer == "adamw":
        return _adamw(parameters, recipe)
    ends = {id(parameter) for name, module in model.named_modules() if name == "head" or isinstance(module, nn.Embedding) for parameter in module.parameters()}
    inner = [parameter for parameter in parameters if parameter.dim() == 2 and id(parameter) not in ends]
    taken = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in parameters if id(parameter) not in taken]
    return Together(Muon(inner, recipe.lr, recipe.weight_decay), _adamw(rest, recipe))


def _adamw(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.betas[0], recipe.betas[1]), fused=True)


def _count(optimizer: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)
