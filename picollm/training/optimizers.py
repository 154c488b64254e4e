"""Optimisers by name: AdamW (arXiv 1711.05101), or Muon (picollm/training/muon.py) on the matrices between embedding and head.

AdamW's step is PyTorch's own fused kernel. Its class torch.optim.Optimizer is not used: whoever makes one imports PyTorch's compiler, only to
tell it to leave the optimiser alone, which takes 3 s in every process that trains.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as fused_adamw

from picollm.training.muon import Muon
from picollm.training.recipe import Recipe

State = dict[str, Tensor]  # what a rule remembers of one parameter


class Rule(Protocol):
    def __call__(self, parameters: list[nn.Parameter], states: list[State], lr: float, weight_decay: float) -> None:
        """One step of parameters that have gradients. A state is empty at first."""


class Optimizer:
    """Groups of parameters, each with the rule that its steps follow: `{"params", "rule", "lr", "weight_decay"}`."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        self.param_groups = [group for group in groups if group["params"]]
        self.state: dict[int, State] = {place: {} for place in range(sum(len(group["params"]) for group in self.param_groups))}

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        place = 0
        for group in self.param_groups:
            own = [(parameter, self.state[place + index]) for index, parameter in enumerate(group["params"]) if parameter.grad is not None]
            group["rule"]([parameter for parameter, _ in own], [state for _, state in own], group["lr"], group["weight_decay"])
            place += len(group["params"])

    def state_dict(self) -> dict[str, Any]:
        """By a parameter's place among those of all groups."""
        return {"state": {place: dict(state) for place, state in self.state.items()}}

    def load_state_dict(self, whole: dict[str, Any]) -> None:
        for place, parameter in enumerate(self._parameters()):
            self.state[place] = {key: value.to(parameter.device, copy=True) for key, value in whole["state"].get(place, {}).items()}

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


class AdamW:
    def __init__(self, betas: tuple[float, float]) -> None:
        self.betas = betas

    def __call__(self, parameters: list[nn.Parameter], states: list[State], lr: float, weight_decay: float) -> None:
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state |= {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        means, squares, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        beta1, beta2 = self.betas
        fused_adamw(
            list[Tensor](parameters), gradients, means, squares, [], steps,
            fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=lr, weight_decay=weight_decay, eps=1e-8, maximize=False,
        )  # fmt: skip


def build(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Norm gains and biases are not decayed: they set a scale that decay would only fight."""
    parameters = list(model.parameters())
    adamw = AdamW((recipe.betas[0], recipe.betas[1]))
    inner = _inner(model) if recipe.optimizer == "muon" else []
    taken = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in parameters if id(parameter) not in taken]
    groups: list[tuple[Rule, list[nn.Parameter], float]] = [
        (Muon(), inner, recipe.weight_decay),
        (adamw, [parameter for parameter in rest if parameter.dim() >= 2], recipe.weight_decay),
        (adamw, [parameter for parameter in rest if parameter.dim() < 2], 0.0),
    ]
    return Optimizer({"rule": rule, "params": members, "lr": recipe.lr, "weight_decay": decay} for rule, members, decay in groups)


def _inner(model: nn.Module) -> list[nn.Parameter]:
    """The matrices between embedding and head."""
    ends = {id(parameter) for name, module in model.named_modules() if name == "head" or isinstance(module, nn.Embedding) for parameter in module.parameters()}
    return [parameter for parameter in model.parameters() if parameter.dim() == 2 and id(parameter) not in ends]
