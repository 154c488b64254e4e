"""What all language models have in common."""

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picollm.core.errors import UserError


class Model(nn.Module):
    """A causal language model. A model file holds `Config` (its block in params.yaml) and `Model(config, vocab_size)`.

    `model(ids (B, T)) -> logits (B, T, V)`. To generate, `state = model.empty_state(batch, length)` and
    `model(ids, state=state)`, which takes the tokens after those the state has seen, and advances it.
    A config's `initial_states` name what training may start a sequence from, beside "zeros".
    `max_length` is the longest sequence it can take, None when there is no limit: the config's own, where it has one.
    """

    def __init__(self, config: Any, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.max_length: int | None = getattr(config, "max_length", None)

    def empty_state(self, batch: int, length: int) -> Any:
        raise NotImplementedError

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in asdict(self.config).items())
        return f"picollm model ({settings}; vocabulary {self.vocab_size}, {self.n_parameters:,} parameters)"

    def logits(self, ids: Tensor, state: Any = None) -> Tensor:
        """The forward pass, typed. Outside of training, whose loop watches its loss, raises UserError for logits that are not finite."""
        result: Tensor = self(ids, state=state)
        if not self.training and not result.sum().isfinite():
            raise UserError("model: its logits are not finite; its training diverged or its weights are damaged: train it again with a lower training.lr")
        return result

    def loss(self, ids: Tensor, targets: Tensor, state: Any = None) -> Tensor:
        """Mean nats per target of (B, T); -100 is none. A model that needs no more than a part of the logits at a time says so here."""
        return F.cross_entropy(self.logits(ids, state).flatten(0, 1), targets.flatten())
