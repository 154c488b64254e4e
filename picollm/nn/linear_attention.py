"""Causal linear attention with the feature map elu + 1, in three forms that compute the same thing.

Source: Katharopoulos et al. 2020, "Transformers are RNNs" (arXiv 2006.16236), eq. 9-12; the chunked form follows the
block decomposition of GLA (arXiv 2312.06635, section 3).

Shapes: B batch, H heads, T time, K key width, V value width, C chunk length, N = T / C chunks.
A state is the sum over past tokens of phi(k) [v, 1]^T, (B, H, K, V + 1): its last column is the normaliser.
"""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6  # keeps a row sum away from 0 when every feature underflows
PARALLEL_UP_TO = 128  # tokens; beyond, the chunked form is faster for head widths 16 to 64 (benchmarks/forms.py)


class LinearState:
    """All that linear attention remembers: constant in size however long the context."""

    def __init__(self, batch: int, heads: int, width: int, like: Tensor) -> None:
        self.sum = like.new_zeros(batch, heads, width, width + 1)


def feature_map(x: Tensor) -> Tensor:
    """elu(x) + 1: never negative, so that a row of weights can be normalised like a softmax row."""
    return F.elu(x) + 1


def _with_ones(v: Tensor) -> Tensor:
    """The column of ones whose weighted sum is the normaliser. (..., V) -> (..., V + 1)."""
    return F.pad(v, (0, 1), value=1.0)


def _normalised(out: Tensor) -> Tensor:
    return out[..., :-1] / (out[..., -1:] + EPS)


def _scores(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The attention matrix before normalisation, (B, H, T, T), and its row sums, (B, H, T, 1)."""
    scores = (feature_map(q) @ feature_map(k).mT).tril_()
    return scores, scores.sum(-1, keepdim=True) + EPS


def weights(q: Tensor, k: Tensor) -> Tensor:
    """The implicit attention matrix that the forms apply without building it. (B, H, T, K) twice -> (B, H, T, T)."""
    scores, total = _scores(q, k)
    return scores / total


def parallel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Quadratic in T, fastest for short sequences. -> (B, H, T, V)."""
    scores, total = _scores(q, k)
    return scores @ v / total  # V divisions a row and not T


def chunked(q: Tensor, k: Tensor, v: Tensor, chunk: int = 64, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Linear in T: quadratic inside a chunk, one state between chunks. -> (B, H, T, V) and the state after the last token.

    `before` is the state that the first token inherits (none: zeros).
    """
    T = q.shape[2]
    pad = -T % chunk
    q, k = q.contiguous(), k.contiguous()  # a model hands over views of (B, T, H, K), which each product below would copy again
    q, k, v = feature_map(q), feature_map(k), _with_ones(v)
    if pad:  # after the feature map: a padded key must count as 0, not as elu(0) + 1
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
    q, k, v = (x.unflatten(2, (-1, chunk)) for x in (q, k, v))  # (B, H, N, C, .)
    added = (k.mT @ v).unbind(2)  # N times (B, H, K, V + 1)
    # Not cumsum: on CUDA it gives other bits each time. N states and not T of them is what keeps memory linear and small.
    *inherited, after = accumulate(added, initial=torch.zeros_like(added[0]) if before is None else before)
    out = (q @ k.mT).tril_() @ v + q @ torch.stack(inherited, 2)  # (B, H, N, C, V + 1)
    return _normalised(out.flatten(2, 3)[:, :, :T]), after


def recurrent_step(q: Tensor, k: Tensor, v: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """One token in constant time. q, k, v: (B, H, 1, .), `before`: (B, H, K, V + 1) -> (B, H, 1, V) and the new state."""
    after = torch.addcmul(before, feature_map(k).mT, _with_ones(v))  # the outer product and the sum in one pass
    return _normalised(feature_map(q) @ after), after


def attend(q: Tensor, k: Tensor, v: Tensor, form: str = "auto", chunk: int = 64) -> Tensor:
    """The form named, or for `auto` the faster one by the length alone: a timing would change bits from run to run."""
    if form == "parallel" or (form == "auto" and q.shape[2] <= PARALLEL_UP_TO):
        return parallel(q, k, v)
    return chunked(q, k, v, chunk)[0]


def extend(q: Tensor, k: Tensor, v: Tensor, state: LinearState, chunk: int = 64) -> Tensor:
    """The outputs of T further tokens, which the state then holds too."""
    out, state.sum = recurrent_step(q, k, v, state.sum) if q.shape[2] == 1 else chunked(q, k, v, chunk, state.sum)
    return out
