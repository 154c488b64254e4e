"""A recurrent language model, LSTM (Hochreiter & Schmidhuber 1997) or GRU (arXiv 1406.1078), through PyTorch's fused cells.

Shapes: B batch, T time, D hidden width, V vocabulary, L layers.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from picollm import models
from picollm.core.config import STRICT, at_least_one, share_below_one


@dataclass(frozen=True)
class Config:
    __pydantic_config__ = STRICT

    kind: Literal["lstm"] = "lstm"
    cell: Literal["lstm", "gru"] = "lstm"
    n_layer: int = 1
    d_model: int = 128  # of the embedding and of what the head reads
    d_hidden: int | None = None  # of the recurrent state; d_model
    dropout: float = 0.0
    tie_embeddings: bool = True

    def __post_init__(self) -> None:
        at_least_one(self, "n_layer", "d_model", "d_hidden")
        share_below_one(self, "dropout")

    @property
    def hidden(self) -> int:
        return self.d_hidden or self.d_model


class DecodingState:
    """The hidden state after the tokens so far: (L, B, D), twice for an LSTM."""

    def __init__(self) -> None:
        self.hidden: Tensor | tuple[Tensor, Tensor] | None = None
        self.position = 0


class Model(models.Model):
    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        c = config
        self.embed = nn.Embedding(vocab_size, c.d_model)
        cell = nn.LSTM if c.cell == "lstm" else nn.GRU
        self.rnn = cell(c.d_model, c.hidden, c.n_layer, batch_first=True, dropout=c.dropout if c.n_layer > 1 else 0.0)
        self.dropout = nn.Dropout(c.dropout)
        self.narrow = nn.Linear(c.hidden, c.d_model) if c.hidden != c.d_model else nn.Identity()  # back to what the head reads
        self.head = nn.Linear(c.d_model, vocab_size, bias=True)
        if c.tie_embeddings:
            self.head.weight = self.embed.weight
        self.init_weights()

    def init_weights(self) -> None:
        """Embedding and head normal, 0.02; recurrent weights orthogonal, so that early gradients neither vanish nor burst;
        input weights Xavier-uniform; biases 0, the LSTM's forget gate 1 (Jozefowicz et al. 2015)."""
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        D = self.config.hidden
        for name, parameter in self.rnn.named_parameters():
            if "weight_hh" in name:
                for gate in parameter.data.split(D):
                    nn.init.orthogonal_(gate)
            elif "weight_ih" in name:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
                if self.config.cell == "lstm" and "bias_ih" in name:
                    parameter.data[D : 2 * D] = 1

    def forward(self, ids: Tensor, state: DecodingState | None = None) -> Tensor:
        """(B, T) -> logits (B, T, V)."""
        x, hidden = self.rnn(self.dropout(self.embed(ids)), state.hidden if state else None)
        if state:
            state.hidden, state.position = hidden, state.position + ids.shape[1]
        logits: Tensor = self.head(self.narrow(self.dropout(x)))
        return logits

    def empty_state(self, batch: int, length: int) -> DecodingState:
        return DecodingState()
