"""A decoder-only transformer (arXiv 1706.03762, pre-norm as GPT-2) whose attention is softmax, any linear kind, or a convolution.

Shapes: B batch, T time, D model width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from picollm import models
from picollm.config import STRICT
from picollm.errors import UserError
from picollm.nn.attention import Attention, AttentionState, Kind, Options
from picollm.nn.convolution import ConvolutionState, GatedConvolution
from picollm.nn.linear_variants import VARIANTS, Form
from picollm.nn.mlp import MLP, Activation
from picollm.nn.norms import Norm, norm
from picollm.nn.positions import Rotary, sinusoids
from picollm.nn.softmax_attention import Scale
from picollm.nn.taps import Recorder, Tap, untapped


@dataclass(frozen=True)
class Config:
    __pydantic_config__ = STRICT

    kind: Literal["transformer"] = "transformer"
    attention: Kind = "softmax"
    n_layer: int = 2
    n_head: int = 4
    d_model: int = 128
    d_ff: int | None = None  # 4 d_model; for SwiGLU 8/3 d_model, which has as many parameters
    positions: Literal["rope", "alibi", "learned", "sinusoidal", "none"] = "rope"
    rope_theta: float = 10_000.0
    block_size: int = 512  # tokens in a learned position table; the other positions have no limit
    norm: Norm = "layernorm"
    activation: Activation = "gelu"
    bias: bool = True
    dropout: float = 0.0  # of embeddings, of what is added to the residual, and of softmax weights
    tie_embeddings: bool = True
    # What some kinds of attention have, see picollm/nn/attention.py:
    short_conv: int = 0
    qk_width: int | None = None
    output_norm: bool = False
    softmax_scale: Scale = "constant"
    attention_form: Form = "auto"
    chunk: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_layer", "n_head", "d_model", "block_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if self.d_model % self.n_head:
            raise ValueError(f"n_head: {self.n_head} does not divide d_model {self.d_model}; choose a divisor")
        if self.positions == "rope" and self.attention != "convolution":
            if self.d_model // self.n_head % 2:
                raise ValueError(f"n_head: gives heads of odd width {self.d_model // self.n_head}, which rope cannot turn in pairs")
            if self.qk_width is not None and self.qk_width % 2:
                raise ValueError(f"qk_width: rope cannot turn an odd width {self.qk_width} in pairs")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model: sinusoidal positions need an even width, not {self.d_model}")
        if self.d_ff is not None and self.d_ff < 1:
            raise ValueError(f"d_ff: must be at least 1, not {self.d_ff}")
        if self.rope_theta <= 0:
            raise ValueError(f"rope_theta: must be above 0, not {self.rope_theta}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: must be in [0, 1), not {self.dropout}")
        if self.attention == "convolution" and self.positions == "alibi":
            raise ValueError("positions: alibi is a cost on attention, and a convolution has none; take none")
        self.options()

    @property
    def initial_states(self) -> tuple[str, ...]:
        """What training may start from: a state that is a sum, at positions that only know distances."""
        if self.attention == "softmax" or self.positions in ("learned", "sinusoidal"):
            return ("zeros",)
        signed = self.attention == "convolution" or not VARIANTS[self.attention].normalised  # noise could make a normaliser 0
        return ("zeros", "passed", "random") if signed else ("zeros", "passed")

    def options(self) -> Options:
        """The attention's part. Raises ValueError for an option that the kind does not have."""
        return Options(
            self.attention, self.n_head, self.short_conv, self.qk_width, self.output_norm, self.softmax_scale, self.attention_form, self.chunk, self.dropout
        )

    @property
    def max_length(self) -> int | None:
        return self.block_size if self.positions == "learned" else None

    @property
    def inner_width(self) -> int:
        return self.d_ff or (8 * self.d_model // 3 if self.activation == "swiglu" else 4 * self.d_model)


class DecodingState:
    """What every layer remembers, and how many tokens that is."""

    def __init__(self, layers: list[AttentionState | ConvolutionState], length: int) -> None:
        self.layers, self.length, self.position = layers, length, 0

    def tensors(self) -> list[Tensor]:
        """All that linear attention and convolutions remember, (B, ...) each."""
        return [tensor for layer in self.layers for tensor in layer.tensors()]


class Block(nn.Module):
    def __init__(self, config: Config, rotary: Rotary | None) -> None:
        super().__init__()
        c = config
        self.norm_attention = norm(c.norm, c.d_model, c.bias)
        self.attention: Attention | GatedConvolution
        if c.attention == "convolution":
            self.attention = GatedConvolution(c.d_model, c.short_conv, c.bias)
        else:
            self.attention = Attention(c.d_model, c.options(), c.bias, rotary, alibi=c.positions == "alibi")
        self.norm_mlp = norm(c.norm, c.d_model, c.bias)
        self.mlp = MLP(c.d_model, c.inner_width, c.activation, c.bias)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, tap: Tap, site: str, state: Any, start: int) -> Tensor:
        """(B, T, D) -> (B, T, D). `state` is the attention's own."""
        x = tap(f"{site}resid_pre", x)
        x = x + self.dropout(tap(f"{site}attn_out", self.attention(self.norm_attention(x), tap, site, state, start)))
        x = tap(f"{site}resid_mid", x)
        return tap(f"{site}resid_post", x + self.dropout(self.mlp(self.norm_mlp(x), tap, site)))


class Model(models.Model):
    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        c = config
        self.embed = nn.Embedding(vocab_size, c.d_model)
        self.positions = nn.Embedding(c.block_size, c.d_model) if c.positions == "learned" else None
        self.rotary = Rotary(c.options().query_width(c.d_model // c.n_head), c.rope_theta, c.block_size) if c.positions == "rope" else None
        self.dropout = nn.Dropout(c.dropout)
        blocks = [Block(c, self.rotary) for _ in range(c.n_layer)]
        self.blocks = nn.ModuleList(blocks)
        self.attentions = [block.attention for block in blocks]  # typed; the modules are the blocks' own
        self.norm = norm(c.norm, c.d_model, c.bias)
        self.head = nn.Linear(c.d_model, vocab_size, bias=False)
        if c.tie_embeddings:
            self.head.weight = self.embed.weight
        self.init_weights()

    def init_weights(self) -> None:
        """As GPT-2:

        | weight                              | distribution                   |
        |-------------------------------------|--------------------------------|
        | embeddings, linear maps             | normal, 0.02                   |
        | linear maps back into the residual  | normal, 0.02 / sqrt(2 n_layer) |
        | biases                              | 0                              |
        | norms                               | 1 (bias 0)                     |
        | filters over time                   | 1 for the token itself, 0.02 for those before it |
        | decay's gate                        | heads forget over 1 to 1000 tokens |
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                into_residual = name.endswith(("attention.out", "mlp.down"))
                nn.init.normal_(module.weight, std=0.02 / (2 * self.config.n_layer) ** 0.5 if into_residual else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, state: DecodingState | None = None, tap: Tap | None = None) -> Tensor:
        """(B, T) -> logits (B, T, V). Raises UserError beyond a learned position table."""
        tap = untapped if tap is None else tap  # a tap may well be an empty collection
        start = state.position if state else 0
        x = tap("embed", self.dropout(self._embed(ids, start)))
        for layer, block in enumerate(self.blocks):
            x = block(x, tap, f"{layer}.", state.layers[layer] if state else None, start)
        if state:
            state.position += ids.shape[1]
        return tap("logits", self.head(tap("ln_f", self.norm(x))))

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        x: Tensor = self.embed(ids)
        end = start + ids.shape[1]
        if self.positions is not None:
            if end > self.config.block_size:
                raise UserError(f"model.block_size: the table of learned positions ends at {self.config.block_size}, the sequence has {end} tokens; shorten it")
            x = x + self.positions.weight[start:end]
        elif self.config.positions == "sinusoidal":
            x = x + sinusoids(ids.shape[1], self.config.d_model, start).to(x)
        return x

    def empty_state(self, batch: int, length: int) -> DecodingState:
        """Memory for a context of up to `length` tokens; linear attention needs the same for any length."""
        like = self.embed.weight
        return DecodingState([attention.empty_state(batch, length, like) for attention in self.attentions], length)

    def attention_weights(self, recorder: Recorder, layer: int) -> Tensor:
        """(B, H, T, T) from the recorded q and k of a forward pass: what the fused kernels applied but never showed."""
        return self.attentions[layer].weights(recorder, f"{layer}.")


def attention_matrices(model: Model, ids: Tensor) -> Tensor:
    """All attention matrices of one forward pass: (B, T) -> (L, B, H, T, T)."""
    recorder = Recorder([f"{layer}.{name}" for layer in range(model.config.n_layer) for name in ("q", "k", "g", "beta")])
    with torch.no_grad():
        model(ids, tap=recorder)
        return torch.stack([model.attention_weights(recorder, layer) for layer in range(model.config.n_layer)])
