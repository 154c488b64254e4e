"""Causal linear attention, all variants of it, in three forms that compute the same thing.

The state is a matrix that every token decays, corrects and adds to, and every query reads:

    S_t = (I - beta_t k_t k_t^T) exp(g_t) S_(t-1) + beta_t k_t v_t^T        o_t = S_t^T q_t

Without `g` nothing decays; without `beta` nothing is corrected, and the token adds k_t v_t^T.

Sources: Katharopoulos et al. 2020 (arXiv 2006.16236) for the sum; RetNet (2307.08621), GLA (2312.06635) and Mamba-2
(2405.21060) for decay and chunks; DeltaNet (2406.06484) and Gated DeltaNet (2412.06464) for the correction in chunks.

Shapes: B batch, H heads, T time, K key features, V value width, C chunk length, N = T / C chunks.
q, k: (B, H, T, K), v: (B, H, T, V), g <= 0 and beta: (B, H, T), or 1 in place of B; a state is (B, H, K, V).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # tokens: the quadratic part inside a chunk then costs about as much as the state between chunks


def weights(q: Tensor, k: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """The implicit attention matrix that the forms apply without building it, (B, H, T, T): o = weights @ v."""
    scores = _scores(q, k, _within(g))
    if beta is None:
        return scores
    correction = _overlaps(k, _within(g), beta)
    return scores @ _solve(correction, torch.diag_embed(beta).expand_as(correction))


def parallel(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """Quadratic in T, fastest for short sequences. -> (B, H, T, V)."""
    decay = _within(g)
    if beta is not None:
        v = _solve(_overlaps(k, decay, beta), beta[..., None] * v)
    return _scores(q, k, decay) @ v


def chunked(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, beta: Tensor | None = None, chunk: int = CHUNK, before: Tensor | None = None
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
    scores = _scores(q, k, decay)
    reads = q if sofar is None else q * sofar.exp()[..., None]  # (B, H, N, C, K): how an output reads the inherited state
    adds = k if sofar is None else k * (sofar[..., -1:] - sofar).exp()[..., None]  # how a value enters the state left behind
    if beta is None:
        passed = kept  # how the inherited state becomes the one left behind: a factor, or a matrix (K, K)
    else:
        # A token writes what its value has beyond what the state says already: u = solved - erased S.
        K = k.shape[-1]
        seen = k if sofar is None else k * sofar.exp()[..., None]
        v, erased = _solve(_overlaps(k, decay, beta), beta[..., None] * torch.cat((v, seen), -1)).split((v.shape[-1], K), -1)
        reads = reads - scores @ erased
        passed = -(adds.mT @ erased)
        passed = passed + torch.eye(K, dtype=k.dtype, device=k.device) * (1 if kept is None else kept)
    inherited, after = _scan(adds.mT @ v, passed, before)
    out = scores @ v + reads @ inherited
    return out.flatten(2, 3)[:, :, :T], after


def step(q: Tensor, k: Tensor, v: Tensor, before: Tensor, g: Tensor | None = None, beta: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One token in constant time. All with T = 1 -> (B, H, 1, V) and the new state."""
    if g is not None:
        before = before * g.exp()[..., None]
    if beta is not None:
        v = beta[..., None] * (v - k @ before)
    after = torch.addcmul(before, k.mT, v)  # the outer product and the sum in one pass
    return q @ after, after


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


def _overlaps(k: Tensor, decay: Tensor | None, beta: Tensor) -> Tensor:
    """How much of a token's correction those before it in the chunk decide: beta_i (k_i . k_j) decay_ij, j < i. (..., C, C)."""
    overlaps = beta[..., None] * (k @ k.mT)
    return (overlaps if decay is None else overlaps * decay).tril(-1)


def _solve(overlaps: Tensor, values: Tensor) -> Tensor:
    """(I + overlaps)^-1 values: each token's correction in turn, all at once."""
    return torch.linalg.solve_triangular(overlaps, values, upper=False, unitriangular=True)


def _scan(added: Tensor, passed: Tensor | None, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """The state that each chunk inherits, (B, H, N, K, V), and the last one left behind.

    Not cumsum, which gives other bits each time on CUDA. N states and not T of them is what keeps memory linear and small.
    """
    state = torch.zeros_like(added[:, :, 0]) if before is None else before
    matrix = passed is not None and passed.shape[-1] > 1
    inherited = []
    for chunk, new in enumerate(added.unbind(2)):
        inherited.append(state)
        if passed is None:
            state = state + new
        else:
            factor = passed[:, :, chunk]
            state = new + (factor @ state if matrix else factor * state)
    return torch.stack(inherited, 2), state
