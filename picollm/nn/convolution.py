"""Short causal convolutions over time, a filter a channel; and a mixer made of one alone (BaseConv of zoology, arXiv 2312.04927).

Shapes: B batch, T time, D channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn.taps import Recorder, Tap, untapped


class ConvolutionState:
    """The last inputs, which the first filters of the next tokens still see: (B, kernel - 1, D)."""

    def __init__(self, batch: int, kernel: int, width: int, like: Tensor) -> None:
        self.last = like.new_zeros(batch, kernel - 1, width)

    def tensors(self) -> list[Tensor]:
        return [self.last]


class ShortConvolution(nn.Module):
    """y_t = sum_i w_i x_(t - i): a token as it is at first, what its neighbours add is learned."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        filters = 0.02 * torch.randn(kernel, 1, width)  # three axes as any convolution's: not a matrix for Muon
        filters[0] = 1
        self.filters = nn.Parameter(filters)

    def forward(self, x: Tensor, state: ConvolutionState | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D). Shifted products: at these sizes twice as fast as PyTorch's grouped convolution."""
        T, kernel = x.shape[1], len(self.filters)
        padded = F.pad(x, (0, 0, kernel - 1, 0)) if state is None else torch.cat((state.last, x), 1)
        if state is not None:
            state.last = padded[:, T:]
        y = x * self.filters[0]
        for back in range(1, kernel):
            y = y + padded[:, kernel - 1 - back : kernel - 1 - back + T] * self.filters[back]
        return y


class GatedConvolution(nn.Module):
    """The control without any attention: z = (x W_g) * conv(x W_v)."""

    def __init__(self, d_model: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.gate_value = nn.Linear(d_model, 2 * d_model, bias=bias)
        self.convolution = ShortConvolution(d_model, kernel)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def forward(self, x: Tensor, tap: Tap = untapped, site: str = "", state: ConvolutionState | None = None, start: int = 0) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        gate, value = self.gate_value(x).chunk(2, -1)
        out: Tensor = self.out(tap(f"{site}z", gate * self.convolution(value, state)))
        return out

    def empty_state(self, batch: int, length: int, like: Tensor) -> ConvolutionState:
        return ConvolutionState(batch, len(self.convolution.filters), self.out.in_features, like)

    def weights(self, recorder: Recorder, site: str) -> Tensor:
        raise NotImplementedError("a convolution has no attention matrix")
