"""How much each head does of each of ten simple things, beside what attention that prefers nothing does of them.

| role            | where a token i looks                                                                                       |
|-----------------|-------------------------------------------------------------------------------------------------------------|
| self            | at itself                                                                                                   |
| previous        | at i - 1                                                                                                    |
| copy_back       | k back, for the one k >= 2 that fits best                                                                   |
| last_difference | at itself and at i - 1 in balance: twice the smaller of the two; of terms that follow from the last two     |
| local           | within 3 back, spread: what is there beyond the strongest of these four places, 4/3 times                   |
| first           | at the first token                                                                                          |
| duplicate       | at an earlier token equal to its own                                                                        |
| induction       | at a token that follows an earlier token equal to its own (Olsson et al. 2022, arXiv 2209.11895)            |
| token_specific  | at one token id that is not its own, for the one that fits best                                             |
| separator       | at what ends a document, a number or a clause, where it is none itself                                      |

A score is (share - uniform) / (1 - uniform): 1 when all weight lies there, 0 for a row that weighs all it may see alike, less for one
that looks away. Weights with a sign count by their size, as shares of their row. The first two tokens have hardly a choice and are not
asked; nor does a first token count as a previous one, one k back, or a separator.

Shapes: L layers, N sequences, H heads, T tokens, O ways to fulfil a role (offsets, token ids); a matrix is (T queries, T keys).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from picollm.analysis._role_probes import Probes
from picollm.models import Model
from picollm.nn.decoder import Model as Decoder
from picollm.nn.decoder import attention_matrices
from picollm.nn.taps import Recorder

ROLES = ("self", "previous", "copy_back", "last_difference", "local", "first", "duplicate", "induction", "token_specific", "separator")
START = 2  # the first query that is asked
LOCAL = 3  # tokens back
FARTHEST = 32  # k of copy_back, at most
FEWEST_ROWS = 3  # of a sequence, that a k must leave
FEWEST_SEQUENCES = 5  # in which a role or a token id must come up
MOST_UNIFORM = 0.9  # where uniform attention gives this much there is nothing to be seen
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Score:
    """One role, of every head."""

    values: np.ndarray  # (N, L, H): their mean over sequences is the score, their spread its error
    uniform: np.ndarray  # (L, H): the share that uniform attention gives
    choice: np.ndarray  # (L, H): the k or the token id that fits best; of other roles 0

    @property
    def mean(self) -> np.ndarray:
        """(L, H)"""
        return np.asarray(self.values.mean(0))


@dataclass(frozen=True, eq=False)
class Shares:
    """Of one role: the weight that each sequence's rows give, and how many rows are asked."""

    taken: np.ndarray  # (L, N, H, O)
    asked: np.ndarray  # (N, O)
    choices: np.ndarray  # (O,)
    smallest: bool = False  # does a head have to do all of it, or the one that it does most?


class Roles:
    """The roles that these sequences can show in models of one architecture: what each would get by chance is the same for all of them."""

    def __init__(self, model: Model, probes: Probes) -> None:
        self.probes = probes
        self.sets = [(probes.stored, _of_stored), (probes.stored if probes.repeated is None else probes.repeated, _of_repeats)]
        self.chance = {role: shares for ids, of in self.sets for role, shares in of(uniform(model, ids), ids, probes)}

    def scores(self, model: Model) -> dict[str, Score]:
        """{role: every head's scores}, in the order of ROLES."""
        found = {}
        for ids, of in self.sets:
            for role, shares in of(patterns(model, ids), ids, self.probes):
                if (score := _score(shares, self.chance[role])) is not None:
                    found[role] = score
        return {role: found[role] for role in ROLES if role in found}


def patterns(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, H, T, T): weights of softmax, which sinks may leave below 1 a row; of linear kinds the shares of a row's absolute weight."""
    weights = attention_matrices(cast(Decoder, model), torch.from_numpy(ids).to(model.device))
    if model.config.attention != "softmax":
        weights = weights.abs()
        weights = weights / weights.sum(-1, keepdim=True).clamp_min(TINY)
    return np.asarray(weights.cpu().numpy())


def uniform(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> (L, N, 1, T, T): the same weight on every token that may be seen; a window makes that fewer."""
    layers, (N, T) = range(model.config.depth), ids.shape
    recorder = Recorder([f"{layer}.seen" for layer in layers])
    with torch.no_grad():
        model(torch.from_numpy(ids).to(model.device), tap=recorder)
    windows = [getattr(attention.kernel, "window", None) for attention in cast(Decoder, model).attentions]
    visible = np.broadcast_to(np.tri(T, dtype=np.float32), (len(layers), N, 1, T, T)).copy()
    for layer in layers:
        seen, window = recorder.values.get(f"{layer}.seen"), windows[layer % model.config.n_layer]
        if seen is not None:
            visible[layer] *= seen.cpu().numpy()
        if window is not None:
            visible[layer] *= np.triu(np.ones((T, T), np.float32), 1 - window)
    return np.asarray(visible / visible.sum(-1, keepdims=True))


def _score(heads: Shares, flat: Shares) -> Score | None:
    """The best way of every head to fulfil the role, each way held against its own chance; None where too few rows are asked."""
    total = heads.asked.sum(0)
    chance = flat.taken.sum(1) / np.maximum(total, 1)  # (L, 1, O)
    kept = ((heads.asked > 0).sum(0) >= min(FEWEST_SEQUENCES, len(heads.asked))) & (chance.max((0, 1)) <= MOST_UNIFORM)
    if not kept.any():
        return None
    taken, asked, chance = heads.taken[..., kept], heads.asked[:, kept], chance[..., kept]
    share = taken.sum(1) / total[kept]  # (L, H, O)
    corrected = (share - chance) / (1 - chance)
    best = (corrected.argmin(-1) if heads.smallest else corrected.argmax(-1))[..., None]  # (L, H, 1)
    N = len(asked)
    of_best = np.take_along_axis(taken, best[:, None], -1)[..., 0]  # (L, N, H)
    rows = asked[:, best[..., 0]].transpose(1, 0, 2)  # (L, N, H)
    share, chance = (np.take_along_axis(np.broadcast_to(x, share.shape), best, -1)[..., 0] for x in (share, chance))  # (L, H)
    # A ratio of sums, linearised, so that sequences with few rows count little and the mean over sequences is the ratio.
    values = share[:, None] + (of_best - share[:, None] * rows) * N / rows.sum(1, keepdims=True)
    values = (values - chance[:, None]) / (1 - chance[:, None])
    return Score(values.transpose(1, 0, 2), chance, heads.choices[kept][best[..., 0]])


def _of_stored(A: np.ndarray, ids: np.ndarray, probes: Probes) -> Iterator[tuple[str, Shares]]:
    yield "self", _offsets(A, range(1))
    yield "previous", _offsets(A, range(1, 2))
    if ids.shape[1] >= START + 1 + FEWEST_ROWS:
        yield "copy_back", _offsets(A, range(2, min(FARTHEST, ids.shape[1] - 1 - FEWEST_ROWS) + 1))
    if probes.numeric:
        both = _offsets(A, range(2), START)
        yield "last_difference", Shares(2 * both.taken, both.asked, np.zeros(2, np.int64), smallest=True)
    band = _offsets(A, range(LOCAL + 1), LOCAL + 1)
    beyond = (band.taken.sum(-1, keepdims=True) - band.taken) * (LOCAL + 1) / LOCAL
    yield "local", Shares(beyond, band.asked, np.zeros(LOCAL + 1, np.int64), smallest=True)
    mask = np.zeros((*ids.shape, ids.shape[1]), bool)
    mask[:, START:, 0] = True
    yield "first", _pairs(A, mask)
    yield "token_specific", _tokens(A, ids, probes.separators)
    if len(probes.separators):
        is_one = np.isin(ids, probes.separators)
        mask = np.tri(ids.shape[1], k=-1, dtype=bool) & is_one[:, None, :] & ~is_one[:, :, None]
        mask[..., 0] = False
        yield "separator", _pairs(A, mask)


def _of_repeats(A: np.ndarray, ids: np.ndarray, _probes: Probes) -> Iterator[tuple[str, Shares]]:
    equal = ids[:, :, None] == ids[:, None, :]
    yield "duplicate", _pairs(A, equal & np.tri(ids.shape[1], k=-1, dtype=bool))
    after = np.zeros_like(equal)
    after[..., 1:] = equal[..., :-1]
    yield "induction", _pairs(A, after & np.tri(ids.shape[1], dtype=bool))


def _offsets(A: np.ndarray, back: range, start: int | None = None) -> Shares:
    """Weight on the token k back, of the rows from `start` on, or from the first whose token k back is not the first one."""
    T = A.shape[-1]
    starts = [start if start is not None else max(k + 1, START) for k in back]
    taken = [np.diagonal(A, -k, -2, -1)[..., first - k :].sum(-1) for k, first in zip(back, starts, strict=True)]
    asked = np.broadcast_to(T - np.array(starts), (A.shape[1], len(back)))
    return Shares(np.stack(taken, -1), asked, np.array(back) if len(back) > 1 else np.zeros(1, np.int64))


def _pairs(A: np.ndarray, mask: np.ndarray) -> Shares:
    """Weight on the pairs of `mask` (N, T, T), of the rows that have any."""
    mask = mask.copy()
    mask[:, :START] = False
    taken = np.einsum("lnhij,nij->lnh", A, mask.astype(A.dtype))
    return Shares(taken[..., None], mask.any(-1).sum(-1)[:, None], np.zeros(1, np.int64))


def _tokens(A: np.ndarray, ids: np.ndarray, separators: np.ndarray) -> Shares:
    """Weight on each token id, of the rows that have seen it and are another; separators have a role of their own."""
    known, sequences = np.unique(np.concatenate([np.unique(row[1:]) for row in ids]), return_counts=True)
    known = known[(sequences >= FEWEST_SEQUENCES) & ~np.isin(known, separators)]
    one_hot = (ids[..., None] == known).astype(A.dtype)  # (N, T, O)
    one_hot[:, 0] = 0
    others = (ids[:, :, None] != ids[:, None, :]) & (np.arange(ids.shape[1])[:, None] >= START)
    received = np.einsum("lnhij,nij->lnhj", A, others.astype(A.dtype))
    asked = ((one_hot.cumsum(1) > 0) & (one_hot == 0))[:, START:].sum(1)
    return Shares(np.einsum("lnhj,njo->lnho", received, one_hot), asked, known)
