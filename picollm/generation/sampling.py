"""How the next token is chosen: greedy, temperature, top-k (arXiv 1805.04833), top-p / nucleus (arXiv 1904.09751).

Shapes: B batch, V vocabulary. Filters are pure functions over logits: what they exclude becomes -inf.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from picollm.config import STRICT

NEVER = float("-inf")
COLDEST = 1e-6  # a lower temperature is greedy but for logits that overflow


@dataclass(frozen=True)
class Sampling:
    """`temperature: 0` is greedy. Filters apply in the order temperature, top_k, top_p."""

    __pydantic_config__ = STRICT

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature != 0 and self.temperature < COLDEST:
            raise ValueError(f"temperature: must be 0 (greedy) or at least {COLDEST}, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: must be in (0, 1], not {self.top_p}")


GREEDY = Sampling(temperature=0)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k largest (and what ties with the smallest of them)."""
    smallest = logits.topk(min(k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < smallest, NEVER)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The smallest set of most probable tokens whose probabilities reach p; never empty."""
    ordered, order = logits.sort(-1, descending=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass of all more probable tokens
    excluded = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(excluded, NEVER)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """(B, V) -> (B,) token ids."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
