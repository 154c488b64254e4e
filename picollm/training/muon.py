"""Muon (Jordan et al. 2024, arXiv 2502.16982): every update of a matrix is made orthogonal, so that no direction of it is left behind.

In float32. torch.optim.Muon computes in bfloat16, for which many processors have no instructions: there its steps take up to thirty times as
long (`python -m benchmarks muon`).

Shapes: N matrices of one shape, R rows, C columns.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5  # of the quintic that takes singular values to about 1, Jordan's own
LIKE_ADAMW = 0.2  # root mean square of an update, so that one rate serves both (2502.16982, section 2.2)
EPS = 1e-7


class Muon(torch.optim.Optimizer):
    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in shapes.items():
                updates = orthogonal(torch.stack([self._ahead(matrix, group["momentum"]) for matrix in matrices]))
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-group["lr"] * LIKE_ADAMW * math.sqrt(max(shape)))

    def _ahead(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        """The running mean of gradients, one step further (Nesterov)."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(mean, momentum)


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
