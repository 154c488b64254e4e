"""Where a token stands: rotary (RoFormer, arXiv 2104.09864), sinusoidal (arXiv 1706.03762) and ALiBi (arXiv 2108.12409) positions.

YaRN (arXiv 2309.00071) stretches rotary positions to contexts `factor` times as long as the `length` trained on: channels that
turn slowly there are slowed down by the factor, fast ones are left alone, and scores grow a little with the context.

Shapes: B batch, H heads, T time, K head width, D model width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

YARN_FAST, YARN_SLOW = 32, 1  # turns within `length` from which on a channel is left alone, and up to which it is slowed down fully


class Rotary(nn.Module):
    """Turns pairs of neighbouring query and key channels by an angle proportional to the position.

    A pair is a complex number and the turn a product with exp(i angle): one operation, twice as fast as four real ones.
    """

    turn: Tensor

    def __init__(self, width: int, theta: float, length: int, yarn_factor: float = 1, yarn_length: int = 4096) -> None:
        """A table of `length` positions, which grows when more are needed; a factor of 1 is no YaRN."""
        super().__init__()
        self.width, self.theta, self.yarn_factor, self.yarn_length = width, theta, yarn_factor, yarn_length
        self._tabulate(length)

    @torch.inference_mode(False)  # a table that grows during a validation must still serve training
    def _tabulate(self, length: int, device: torch.device | None = None) -> None:
        frequency = self.theta ** -(torch.arange(0, self.width, 2, dtype=torch.float64) / self.width)
        size = 1.0
        if self.yarn_factor != 1:
            frequency, size = frequency * self._slowed().to(frequency), 0.1 * math.log(self.yarn_factor) + 1
        angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency)  # (T, K / 2)
        self.register_buffer("turn", torch.polar(torch.full_like(angle, size), angle).to(torch.complex64).to(device), persistent=False)

    def _slowed(self) -> Tensor:
        """(K / 2,): what YaRN multiplies the frequency of each pair of channels by."""

        def channel(turns: float) -> float:  # that turns so often within the trained length
            return self.width * math.log(self.yarn_length / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        first, last = max(channel(YARN_FAST), 0), min(channel(YARN_SLOW), self.width - 1)
        share = ((torch.arange(self.width // 2) - first) / ((last - first) or 1e-3)).clamp(0, 1)
        return 1 - share + share / self.yarn_factor

    def forward(self, x: Tensor, start: int = 0, places: Tensor | None = None) -> Tensor:
        """x: (..., T, K), whose first token stands at `start`; or (B, H, T, K) with tokens at `places` (B, T). -> the same shape."""
        end = start + x.shape[-2] if places is None else highest(places) + 1
        if end > len(self.turn):  # sequences may be longer than any seen in training
            self._tabulate(max(end, 2 * len(self.turn)), x.device)
        turned: Tensor = _Turn.apply(x, self.turn[start:end] if places is None else self.turn[places][:, None])
        return turned


def highest(places: Tensor) -> int:
    """Not asked for in a compiled model, whose graph it would break: there a place that a table lacks is PyTorch's own IndexError."""
    return 0 if torch.compiler.is_compiling() else int(places.max())


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """(..., T, K) by (T, K / 2) complex numbers."""
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
