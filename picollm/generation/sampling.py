"""How the next token is chosen: greedy, temperature, top-k (arXiv 1805.04833), top-p / nucleus (arXiv 1904.09751),
min-p (arXiv 2407.01082), repetition penalty (arXiv 1909.05858).

Shapes: B batch, S tokens so far, V vocabulary. Filters are pure functions over logits: what they exclude becomes -inf.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from picollm.core.config import STRICT

NEVER = float("-inf")
COLDEST = 1e-6  # a lower temperature is greedy but for logits that overflow


@dataclass(frozen=True)
class Sampling:
    """`temperature: 0` is greedy. In the order of transformers: repetition_penalty, temperature, top_k, top_p, min_p."""

    __pydantic_config__ = STRICT

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None  # of the likeliest token's probability
    repetition_penalty: float = 1.0  # 1: none; above, what has been said becomes less likely

    def __post_init__(self) -> None:
        if self.temperature != 0 and self.temperature < COLDEST:
            raise ValueError(f"temperature: must be 0 (greedy) or at least {COLDEST}, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: must be at least 1, not {self.top_k}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name}: must be in (0, 1], not {value}")
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty: must be above 0 (1 is none), not {self.repetition_penalty}")


GREEDY = Sampling(temperature=0)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k largest (and what ties with the smallest of them)."""
    smallest = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < smallest, NEVER)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of most probable tokens whose probabilities reach p; never empty, and everything at p = 1."""
    if p == 1:  # rounded sums reach 1 before the last token
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)  # of equals, the lower id
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass of all more probable tokens
    excluded = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(excluded, NEVER)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Every token that is at least p times as probable as the likeliest."""
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), NEVER)


def penalise(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Logits of the tokens in `ids` (B, S) divided by the penalty, negative ones multiplied: once, however often a token came."""
    said = logits.gather(-1, ids)
    return logits.scatter(-1, ids, torch.where(said < 0, said * penalty, said / penalty))


def warp(logits: Tensor, sampling: Sampling, ids: Tensor) -> Tensor:
    """Logits of what may be drawn after `ids` (B, S). (B, V) -> (B, V); a temperature of 0 is left to `choose`."""
    if sampling.repetition_penalty != 1:
        logits = penalise(logits, ids, sampling.repetition_penalty)
    if sampling.temperature:
        logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    if sampling.min_p is not None:
        logits = keep_min_p(logits, sampling.min_p)
    return logits


def choose(logits: Tensor, sampling: Sampling, ids: Tensor, uniform: Tensor) -> Tensor:
    """(B, V) -> (B,) token ids that follow `ids` (B, S). `uniform` (B,), float64 in [0, 1), is all the chance there is.

    A row draws by inverting its distribution function, so that nothing depends on the other rows of the batch.
    """
    logits = warp(logits, sampling, ids)
    if sampling.temperature == 0:
        return logits.argmax(-1)
    reached = logits.softmax(-1).cpu().double().cumsum(-1)  # on the CPU, for not every device has double precision
    return torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True).squeeze(-1).to(logits.device)
