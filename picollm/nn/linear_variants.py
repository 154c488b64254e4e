"""The variants of linear attention: which features, whether the sum is normalised, what decays, what is corrected.

| kind           | features   | read-out         | decay of the state        | beta   | source                                |
|----------------|------------|------------------|---------------------------|--------|---------------------------------------|
| linear         | elu + 1    | / sum of weights | none                      | -      | Katharopoulos et al., 2006.16236      |
| linear_norm    | elu + 1    | RMS norm a head  | none                      | -      | TransNormer, 2210.10340               |
| taylor         | 1, x, x x  | / sum of weights | none                      | -      | Based, 2402.18668                     |
| retention      | as they are| RMS norm a head  | 1 - 2^(-5 - h), h = 0 ..  | -      | RetNet, 2307.08621                    |
| gated          | as they are| RMS norm a head  | from the token            | -      | GLA, 2312.06635; Mamba-2, 2405.21060  |
| delta          | unit       | RMS norm a head  | none                      | (0, 1) | DeltaNet, 2406.06484                  |
| delta_negative | unit       | RMS norm a head  | none                      | (0, 2) | Grazzi et al., 2411.12537             |
| gated_delta    | unit       | RMS norm a head  | from the token            | (0, 1) | Gated DeltaNet, 2412.06464            |

Shapes: B batch, H heads, T time, D model width, K key features, V value width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picollm.nn import features, linear_attention
from picollm.nn.positions import alibi_slopes
from picollm.nn.taps import Recorder, Tap

EPS = 1e-6  # keeps a row sum away from 0 when every feature underflows
Form = Literal["auto", "parallel", "chunked"]


@dataclass(frozen=True)
class Variant:
    features: Callable[[Tensor], Tensor]
    normalised: bool = False  # by the sum of weights; a head's output has a norm otherwise
    decay: Literal["none", "fixed", "gate"] = "none"
    beta: float = 0.0  # the upper end of its range, which starts at 0; 0: nothing is corrected

    def chunk(self, width: int) -> int:
        """Tokens of a chunk for keys of `width` features, the fastest as measured by benchmarks/forms.py: what is quadratic in a
        chunk then costs about as much as the state between chunks; corrections cost more of it."""
        return min(max(width, 16), 64) if not self.beta else min(max(width // 2, 16), 32)

    def parallel_up_to(self, width: int) -> int:
        """Tokens up to which the parallel form is the faster one, likewise."""
        return min(2 * width, 128) if not self.beta else min(width, 64)


VARIANTS = {
    "linear": Variant(features.positive, normalised=True),
    "linear_norm": Variant(features.positive),
    "taylor": Variant(features.taylor, normalised=True),
    "retention": Variant(features.plain, decay="fixed"),
    "gated": Variant(features.plain, decay="gate"),
    "delta": Variant(features.unit, beta=1.0),
    "delta_negative": Variant(features.unit, beta=2.0),
    "gated_delta": Variant(features.unit, decay="gate", beta=1.0),
}


class LinearState:
    """All that linear attention remembers: constant in size however long the context. (B, H, K, V), V one wider with a normaliser."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix


class LinearKernel(nn.Module):
    fixed: Tensor

    def __init__(self, kind: str, d_model: int, n_head: int, qk_width: int, width: int, alibi: bool, output_norm: bool, form: Form, chunk: int | None) -> None:
        super().__init__()
        self.variant, self.n_head, self.form = VARIANTS[kind], n_head, form
        self.shape = (n_head, features.taylor_width(qk_width) if kind == "taylor" else qk_width, width + self.variant.normalised)
        self.chunk, self.parallel_up_to = chunk or self.variant.chunk(self.shape[1]), self.variant.parallel_up_to(self.shape[1])
        fixed = torch.log1p(-(2.0 ** (-5.0 - torch.arange(n_head)))) if self.variant.decay == "fixed" else torch.zeros(n_head)
        if alibi:  # a cost per step of distance is a decay
            fixed = fixed - alibi_slopes(n_head)
        self.register_buffer("fixed", fixed[:, None] if fixed.any() else None, persistent=False)  # (H, 1)
        self.gate = nn.Linear(d_model, n_head, bias=False) if self.variant.decay == "gate" else None
        if self.gate is not None:  # as in Mamba-2; at first the heads forget over 1 to 1000 tokens
            rates = torch.logspace(-3, 0, n_head) if n_head > 1 else torch.tensor([0.03])
            self.gate_bias = nn.Parameter(rates.expm1().log())  # softplus of it is the rate
            self.gate_scale = nn.Parameter(torch.zeros(n_head))
        self.beta = nn.Linear(d_model, n_head, bias=False) if self.variant.beta else None
        self.norm = nn.RMSNorm(width, eps=1e-5) if output_norm or not self.variant.normalised else None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, tap: Tap, site: str, memory: LinearState | None, start: int) -> Tensor:
        """q, k: (B, H, T, .), v: (B, H, T, V), x: (B, T, D), what they were computed from -> (B, H, T, V)."""
        q, k = (linear_attention.recomputed(self.variant.features, y, tokens=y.shape[2]) for y in (q, k))
        g, beta = self._gates(x, tap, site)
        if self.variant.normalised:
            v = F.pad(v, (0, 1), value=1.0)  # the column of ones, whose weighted sum is the normaliser
        if memory is None:
            z = self._attend(q, k, v, g, beta)
        elif q.shape[2] == 1:
            z, memory.matrix = linear_attention.step(q, k, v, memory.matrix, g, beta)
        else:
            z, memory.matrix = linear_attention.chunked(q, k, v, g, beta, self.chunk, memory.matrix)
        if self.variant.normalised:
            z = z[..., :-1] / (z[..., -1:] + EPS)
        return z if self.norm is None else self.norm(z)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, beta: Tensor | None) -> Tensor:
        """The form named, or for `auto` the faster one by the shapes alone: a timing would change bits from run to run."""
        if self.form == "parallel" or (self.form == "auto" and q.shape[2] <= self.parallel_up_to):
            return linear_attention.parallel(q, k, v, g, beta)
        return linear_attention.chunked(q, k, v, g, beta, self.chunk)[0]

    def _gates(self, x: Tensor, tap: Tap, site: str) -> tuple[Tensor | None, Tensor | None]:
        """The logarithm of the decay and the strength of the correction, (B or 1, H, T), where the variant has them."""
        g = None if self.fixed is None else self.fixed.expand(-1, x.shape[1])[None]
        if self.gate is not None:
            learned = -self.gate_scale.exp()[:, None] * F.softplus(self.gate(x).mT + self.gate_bias[:, None])
            g = learned if g is None else g + learned
        beta = None if self.beta is None else tap(f"{site}beta", self.variant.beta * self.beta(x).mT.sigmoid())
        return None if g is None else tap(f"{site}g", g), beta

    def empty(self, batch: int, length: int, like: Tensor) -> LinearState:
        return LinearState(like.new_zeros(batch, *self.shape))

    def weights(self, recorder: Recorder, site: str) -> Tensor:
        """The matrix that a recorded pass applied to the values without building it, (B, H, T, T), exactly: of signed features it is signed."""
        q, k = (self.variant.features(recorder[f"{site}{name}"]) for name in "qk")
        g, beta = (recorder.values.get(f"{site}{name}") for name in ("g", "beta"))
        matrix = linear_attention.weights(q, k, g, beta)
        return matrix / (matrix.sum(-1, keepdim=True) + EPS) if self.variant.normalised else matrix

    def applied(self, weights: Tensor, v: Tensor) -> Tensor:
        """What the heads put out with these weights (B, H, T, T) on values (B, H, T, V)."""
        z = weights @ v
        return z if self.norm is None else self.norm(z)
