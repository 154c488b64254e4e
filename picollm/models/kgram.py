"""A network over the last k tokens and nothing before them (Bengio et al. 2003), with three ways to take them in.

All are W [x_(t-k+1) ... x_t] = sum_j W_j x_(t-j) of one-hot tokens x, so a token is multiplied once and its k products added
where they belong. `onehot` takes W as it is: the product with a one-hot vector is a row of a table, which is looked up.
`embedding` factors W_j = P_j E into an embedding and a map a position, `convolution` further into P diag(f_j) E: a
depthwise filter over the positions, then one pointwise map. Before the first token stand vectors of zeros.

Shapes: B batch, T time, D embedding width, H hidden width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from picollm import models
from picollm.core.config import STRICT, at_least_one, share_below_one
from picollm.nn.convolution import ShortConvolution

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}

CHUNK = 64


@dataclass(frozen=True)
class Config:
    __pydantic_config__ = STRICT

    kind: Literal["kgram"] = "kgram"
    variant: Literal["onehot", "embedding", "convolution"] = "embedding"
    k: int = 3
    n_layer: int = 2  # inner ones, from hidden to hidden
    d_model: int = 64  # of the embedding; onehot has none
    d_hidden: int | None = None  # d_model
    activation: Literal["silu", "gelu", "relu"] = "silu"
    dropout: float = 0.0  # of the hidden layers
    chunk: int | None = None  # positions at a time, CHUNK; memory in training is theirs, whatever the length

    def __post_init__(self) -> None:
        at_least_one(self, "k", "n_layer", "d_model", "d_hidden", "chunk")
        share_below_one(self, "dropout")

    @property
    def hidden(self) -> int:
        return self.d_hidden or self.d_model


class DecodingState:
    """The tokens that the next one is seen with, up to k - 1 of them: (B, .)."""

    def __init__(self, last: Tensor) -> None:
        self.last, self.position = last, 0


class Model(models.Model):
    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        c = config
        # The table of onehot is an embedding as wide as all its maps, (V, k H): the optimiser takes it for one, and rows lie together.
        self.embed = nn.Embedding(vocab_size, c.k * c.hidden if c.variant == "onehot" else c.d_model)
        if c.variant == "convolution":
            self.convolution = ShortConvolution(c.d_model, c.k)
            self.pointwise = nn.Linear(c.d_model, c.hidden, bias=False)
        elif c.variant == "embedding":
            self.maps = nn.Linear(c.d_model, c.k * c.hidden, bias=False)
        self.bias = nn.Parameter(torch.zeros(c.hidden))
        self.layers = nn.ModuleList(nn.Linear(c.hidden, c.hidden) for _ in range(c.n_layer))
        self.dropout = nn.Dropout(c.dropout)
        self.head = nn.Linear(c.hidden, vocab_size)
        self.init_weights()

    def init_weights(self) -> None:
        """Every layer hands on what it gets at its size, so that depth and k do not matter:

        | weight                       | distribution                     |
        |------------------------------|----------------------------------|
        | embedding                    | normal, 1                        |
        | what adds up k positions     | normal, 1 / sqrt(k) (and of fan) |
        | inner layers                 | normal, sqrt(2 / fan)            |
        | head                         | normal, 0.02                     |
        | biases                       | 0                                |
        """
        c = self.config
        nn.init.normal_(self.embed.weight, std=c.k**-0.5 if c.variant == "onehot" else 1.0)
        if c.variant == "convolution":
            nn.init.normal_(self.convolution.filters, std=c.k**-0.5)
            nn.init.normal_(self.pointwise.weight, std=c.d_model**-0.5)
        elif c.variant == "embedding":
            nn.init.normal_(self.maps.weight, std=(c.k * c.d_model) ** -0.5)
        for parameter in self.layers.parameters():
            if parameter.dim() == 2:
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.zeros_(parameter)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Tensor, state: DecodingState | None = None) -> Tensor:
        """(B, T) -> logits (B, T, V)."""
        before = 0
        if state:
            before = state.last.shape[1]
            ids = torch.cat((state.last, ids), 1)
            state.last, state.position = ids[:, ids.shape[1] - min(self.config.k - 1, ids.shape[1]) :], state.position + ids.shape[1] - before
        logits: Tensor = self.head(torch.cat(self._by_chunks(self._hidden, ids, before), 1))
        return logits

    def loss(self, ids: Tensor, targets: Tensor, state: DecodingState | None = None) -> Tensor:
        """As of any model, but logits exist for one chunk at a time only, also while gradients are computed."""
        assert state is None, "what came before is of no use to training"

        def summed(ids: Tensor, start: int, end: int) -> Tensor:
            return F.cross_entropy(self.head(self._hidden(ids, start, end)).flatten(0, 1), targets[:, start:end].flatten(), reduction="sum")

        return torch.stack(self._by_chunks(summed, ids, 0)).sum() / (targets != -100).sum()

    def empty_state(self, batch: int, length: int) -> DecodingState:
        return DecodingState(torch.empty(batch, 0, dtype=torch.long, device=self.device))

    def _by_chunks(self, function: Callable[[Tensor, int, int], Tensor], ids: Tensor, start: int) -> list[Tensor]:
        """`function(ids, start, end)` for each chunk from `start` on. A gradient computes several of them again instead of keeping what is inside."""
        T = ids.shape[1]
        chunk = self.config.chunk or CHUNK
        ends = [(begin, min(begin + chunk, T)) for begin in range(start, T, chunk)]
        if len(ends) == 1 or not torch.is_grad_enabled():
            return [function(ids, *each) for each in ends]
        return [checkpoint(function, ids, *each, use_reentrant=False) for each in ends]

    def _hidden(self, ids: Tensor, start: int, end: int) -> Tensor:
        """The last hidden layer at positions start to end of (B, T) -> (B, end - start, H)."""
        act = ACTIVATIONS[self.config.activation]
        begin = max(0, start - self.config.k + 1)
        x = self.dropout(act(self._first(ids[:, begin:end])[:, start - begin :] + self.bias))
        for layer in self.layers:
            x = self.dropout(act(layer(x)))
        return x

    def _first(self, ids: Tensor) -> Tensor:
        """What the last k tokens add up to, (B, T) -> (B, T, H)."""
        T, x = ids.shape[1], self.embed(ids)
        if self.config.variant == "convolution":
            return self.pointwise(self.convolution(x))
        products = (x if self.config.variant == "onehot" else self.maps(x)).unflatten(-1, (self.config.k, -1))  # (B, T, k, H)
        total: Tensor = products[:, :, 0]
        for back in range(1, min(self.config.k, T)):
            total = total + F.pad(products[:, : T - back, back], (0, 0, back, 0))
        return total
