"""Causal linear attention, all variants of it, in three forms that compute the same thing.

The state is a matrix that every token decays, corrects and adds to, and every query reads:

    S_t = (I - beta_t k_t k_t^T) exp(g_t) S_(t-1) + beta_t k_t v_t^T        o_t = S_t^T q_t

Without `g` nothing decays; without `beta` nothing is corrected, and the token adds k_t v_t^T.

Sources: Katharopoulos et al. 2020 (arXiv 2006.16236) for the sum; RetNet (2307.08621), GLA (2312.06635) and Mamba-2
(2405.21060) for decay and chunks; DeltaNet (2406.06484) and Gated DeltaNet (2412.06464) for the correction in chunks.

Shapes: B batch, H heads, T time, K key features, V value width, C chunk length, N = T / C chunks.
q, k: (B, H, T, K), v: (B, H, T, V), g <= 0 and beta: (B, H, T), or 1 in place of B; a state is (B, H, K, V).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

LONG = 4096  # tokens, from which on memory is worth some time
R = TypeVar("R")


def weights(q: Tensor, k: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """The implicit attention matrix that the forms apply without building it, (B, H, T, T): o = weights @ v."""
    scores = _scores(q, k, _within(g))
    if beta is None:
        return scores
    return scores @ (_corrections(k, _within(g), beta) * beta[..., None, :])


def parallel(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """Quadratic in T, fastest for short sequences. -> (B, H, T, V)."""
    decay = _within(g)
    if beta is not None:
        v = _corrections(k, decay, beta) @ (beta[..., None] * v)
    return _scores(q, k, decay) @ v


def chunked(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, beta: Tensor | None = None, chunk: int = 64, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Linear in T: quadratic inside a chunk, one state between chunks. -> (B, H, T, V) and the state after the last token.

    `before` is the state that the first token inherits (none: zeros). A chunk longer than the sequence is cut to it.
    Raises ValueError for a chunk below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk: {chunk} tokens; give at least 1")
    T = q.shape[2]
    q, k, v = (_split(x, min(chunk, T)) for x in (q, k, v))  # (B, H, N, C, .)
    g, beta = (None if x is None else _split(x, min(chunk, T)) for x in (g, beta))  # (B, H, N, C)
    decay, sofar = _within(g), None if g is None else g.cumsum(-1)  # (B, H, N, C, C), (B, H, N, C)
    kept = None if sofar is None else sofar[..., -1].exp()[..., None, None]  # of a state, by the end of the chunk
    adds = k if sofar is None else k * (sofar[..., -1:] - sofar).exp()[..., None]  # how a value enters the state left behind
    state = q.new_zeros(*q.shape[:2], k.shape[-1], v.shape[-1]) if before is None else before
    if beta is None:
        inherited, after = _Sums.apply(adds.mT @ v, kept, state)
    else:
        erased, written = recomputed(_writing, k, v, beta, decay, sofar, tokens=T)
        inherited, v, after = _Corrected.apply(adds.mT, erased, written, kept, state)
    reads = q if sofar is None else q * sofar.exp()[..., None]  # (B, H, N, C, K): how an output reads the inherited state
    out = _scores(q, k, decay) @ v + reads @ inherited
    return out.flatten(2, 3)[:, :, :T], after


def step(q: Tensor, k: Tensor, v: Tensor, before: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One token in constant time. All with T = 1 -> (B, H, 1, V) and the new state."""
    if g is not None:
        before = before * g.exp()[..., None]
    if beta is not None:
        v = beta[..., None] * (v - k @ before)
    after = torch.addcmul(before, k.mT, v)  # the outer product and the sum in one pass
    return q @ after, after


def recomputed(function: Callable[..., R], *inputs: Any, tokens: int) -> R:
    """What is large and quick to compute is computed again for the gradient, and not kept, in long sequences."""
    result: R = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False) if tokens >= LONG else function(*inputs)
    return result


def _split(x: Tensor, chunk: int) -> Tensor:
    """(B, H, T, ...) -> (B, H, N, C, ...), filled up with zeros: such a token adds, decays and corrects nothing."""
    missing = -x.shape[2] % chunk
    x = F.pad(x, (*(0, 0) * (x.dim() - 3), 0, missing)) if missing else x.contiguous()  # else each product would copy a view again
    return x.unflatten(2, (-1, chunk))


def _within(g: Tensor | None) -> Tensor | None:
    """How much of what token j added is left at token i: exp(g_(j+1) + ... + g_i), 0 for j > i. (..., C) -> (..., C, C)."""
    if g is None:
        return None
    sofar = g.cumsum(-1)
    later = torch.ones(g.shape[-1], g.shape[-1], dtype=torch.bool, device=g.device).triu(1)
    return (sofar[..., None] - sofar[..., None, :]).masked_fill(later, float("-inf")).exp()


def _scores(q: Tensor, k: Tensor, decay: Tensor | None) -> Tensor:
    return (q @ k.mT).tril_() if decay is None else (q @ k.mT) * decay


def _writing(k: Tensor, v: Tensor, beta: Tensor, decay: Tensor | None, sofar: Tensor | None) -> tuple[Tensor, Tensor]:
    """A token writes what its value has beyond what the state says already: written - erased S."""
    solved = _corrections(k, decay, beta)
    seen = k if sofar is None else k * sofar.exp()[..., None]
    return solved @ (beta[..., None] * seen), solved @ (beta[..., None] * v)


def _corrections(k: Tensor, decay: Tensor | None, beta: Tensor) -> Tensor:
    """Every token's correction in turn, all at once: (I + L)^-1 with L_ij = beta_i (k_i . k_j) decay_ij, j < i. -> (..., C, C).

    As an inverse: a triangular solve with all the values on its right takes three times as long as a product.
    """
    overlaps = beta[..., None] * (k @ k.mT)
    overlaps = (overlaps if decay is None else overlaps * decay).tril(-1)
    identity = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device).expand_as(overlaps)
    return torch.linalg.solve_triangular(overlaps, identity, upper=False, unitriangular=True)


# The scans go from chunk to chunk in memory reserved once. Not cumsum, which gives other bits each time on CUDA. N states
# and not T of them is what keeps memory linear and small. Their gradients are written out: a third of what PyTorch's keep.


class _Sums(torch.autograd.Function):
    """S' = kept S + added: the state that each chunk inherits, (B, H, N, K, V), and the last one left behind."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, kept: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        inherited = torch.empty_like(added)
        for n in range(added.shape[2]):
            inherited[:, :, n] = state
            state = added[:, :, n] + (state if kept is None else kept[:, :, n] * state)
        ctx.save_for_backward(inherited, kept)
        return inherited, state

    @staticmethod
    def backward(ctx: Any, of_inherited: Tensor, of_state: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:  # type: ignore[override]
        inherited, kept = ctx.saved_tensors
        of_added = torch.empty_like(inherited)
        for n in reversed(range(inherited.shape[2])):
            of_added[:, :, n] = of_state
            of_state = of_inherited[:, :, n] + (of_state if kept is None else kept[:, :, n] * of_state)
        return of_added, None if kept is None else _reduced(of_added * inherited, kept), of_state


class _Corrected(torch.autograd.Function):
    """A chunk writes what the inherited state lacks: u = written - erased S, S' = kept S + adds u. Also gives u, (B, H, N, C, V)."""

    @staticmethod
    def forward(ctx: Any, adds: Tensor, erased: Tensor, written: Tensor, kept: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inherited = state.new_empty(*adds.shape[:4], state.shape[-1])
        values = torch.empty_like(written)
        for n in range(adds.shape[2]):
            inherited[:, :, n] = state
            values[:, :, n] = written[:, :, n] - erased[:, :, n] @ state
            state = adds[:, :, n] @ values[:, :, n] + (state if kept is None else kept[:, :, n] * state)
        ctx.save_for_backward(adds, erased, inherited, values, kept)
        return inherited, values, state

    @staticmethod
    def backward(ctx: Any, of_inherited: Tensor, of_values: Tensor, of_state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:  # type: ignore[override]
        adds, erased, inherited, values, kept = ctx.saved_tensors
        of_later, of_written = torch.empty_like(inherited), torch.empty_like(values)
        for n in reversed(range(inherited.shape[2])):
            of_later[:, :, n] = of_state
            of_written[:, :, n] = of_values[:, :, n] + adds[:, :, n].mT @ of_state
            of_state = of_inherited[:, :, n] - erased[:, :, n].mT @ of_written[:, :, n] + (of_state if kept is None else kept[:, :, n] * of_state)
        of_kept = None if kept is None else _reduced(of_later * inherited, kept)
        return of_later @ values.mT, -(of_written @ inherited.mT), of_written, of_kept, of_state


def _reduced(gradient: Tensor, like: Tensor) -> Tensor:
    """Summed over the axes along which `like` was spread, the batch's among them where a decay is the same for all."""
    return gradient.sum_to_size(like.shape)
