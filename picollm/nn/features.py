"""Feature maps of linear attention: what a query or key becomes, so that a dot product says how much a token counts.

Shapes: (..., K) -> (..., F).
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def positive(x: Tensor) -> Tensor:
    """elu(x) + 1 (arXiv 2006.16236): never negative, so that a row of weights can be normalised like a softmax row."""
    return F.elu(x) + 1


def plain(x: Tensor) -> Tensor:
    """As it is: retention and gated attention keep their size in bounds by decay and a norm."""
    return x


def unit(x: Tensor) -> Tensor:
    """SiLU, then length 1 (arXiv 2406.06484): a correction by a unit key takes out exactly what that key says."""
    return F.normalize(F.silu(x), dim=-1, eps=1e-6)


def taylor(x: Tensor) -> Tensor:
    """exp(q . k / sqrt(K)) up to its square (Based, arXiv 2402.18668): F = 1 + K + K (K + 1) / 2, every product once."""
    K = x.shape[-1]
    x = x * K**-0.25
    first, second = _pairs(K)
    # Picked by products with 0 and 1: indexing would be as exact, but its gradient is several times slower.
    products = (x @ first.to(x)) * (x @ second.to(x))
    return torch.cat((torch.ones_like(x[..., :1]), x, products), -1)


def taylor_width(width: int) -> int:
    return 1 + width + width * (width + 1) // 2


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # made during a validation they must still serve training
def _pairs(width: int) -> tuple[Tensor, Tensor]:
    """(K, K (K + 1) / 2) twice: the products x_i x_j, i <= j, are (x first) (x second); squares count half in the series."""
    i, j = torch.triu_indices(width, width)
    first, second = (F.one_hot(index, width).T.float() for index in (i, j))
    return first * torch.where(i == j, 0.5**0.5, 1.0), second
