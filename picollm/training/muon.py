"""Muon (Jordan et al. 2024, arXiv 2502.16982): every update of a matrix is made orthogonal, so that no direction of it is left behind.

In float32. torch.optim.Muon computes in bfloat16, for which many processors have no instructions: there its steps take up to thirty times as
long (`python -m benchmarks muon`).

Shapes: N matrices of one shape, R rows, C columns.
"""

import math

import torch
from torch import Tensor, nn

COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5  # of the quintic that takes singular values to about 1, Jordan's own
LIKE_ADAMW = 0.2  # root mean square of an update, so that one rate serves both (2502.16982, section 2.2)
EPS = 1e-7


class Muon:
    """The rule of matrices, for an Optimizer (picollm/training/optimizers.py)."""

    def __init__(self, momentum: float = 0.95) -> None:
        self.momentum = momentum

    def __call__(self, parameters: list[nn.Parameter], states: list[dict[str, Tensor]], lr: float, weight_decay: float) -> None:
        shapes: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
        for matrix, state in zip(parameters, states, strict=True):
            shapes.setdefault(matrix.shape, []).append((matrix, self._ahead(matrix, state)))
        for shape, alike in shapes.items():
            updates = orthogonal(torch.stack([ahead for _, ahead in alike]))
            for (matrix, _), update in zip(alike, updates, strict=True):
                matrix.mul_(1 - lr * weight_decay)
                matrix.add_(update, alpha=-lr * LIKE_ADAMW * math.sqrt(max(shape)))

    def _ahead(self, matrix: nn.Parameter, state: dict[str, Tensor]) -> Tensor:
        """The running mean of gradients, one step further (Nesterov)."""
        assert matrix.grad is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - self.momentum)
        return matrix.grad.lerp(mean, self.momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, R, C) -> the same, every singular value about 1: between 0.7 and 1.2, but for those that were almost 0."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(EPS)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT
