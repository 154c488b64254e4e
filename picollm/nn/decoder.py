"""A decoder-only transformer (arXiv 1706.03762) whose attention is softmax, any linear kind, or a convolution.

Where a block's norms stand (f is its attention, then its MLP):

| norm_position | x becomes            | source                                                     |
|---------------|----------------------|------------------------------------------------------------|
| pre           | x + f(norm(x))       | GPT-2; a last norm before the head                         |
| post          | norm(x + f(x))       | arXiv 1706.03762; no last norm, the last block ends in one |
| both          | x + norm(f(norm(x))) | the sandwich of CogView, arXiv 2105.13290, and Gemma 2     |

Shapes: B batch, T time, D model width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from picollm.core.config import STRICT, above_zero, at_least_one, share_below_one
from picollm.core.errors import UserError
from picollm.nn.attention import Attention, AttentionState, Kind, Options
from picollm.nn.convolution import ConvolutionState, GatedConvolution
from picollm.nn.initialisation import Init, initialise
from picollm.nn.linear_variants import VARIANTS, Form
from picollm.nn.mlp import GATED, MLP, Activation
from picollm.nn.model import Model as Base
from picollm.nn.norms import EPS, Norm, norm
from picollm.nn.number_positions import DigitOrder, Places, PositionIds, block_ids, coupled_ids, window
from picollm.nn.positions import Rotary, highest, sinusoids
from picollm.nn.softmax_attention import Scale
from picollm.nn.taps import ATTENDING, Recorder, Tap, untapped

DEEP = 10  # blocks, beyond which a run on two cores takes hours


@dataclass(frozen=True)
class Config:
    __pydantic_config__ = STRICT

    kind: str = "transformer"  # or the name of a preset
    attention: Kind = "softmax"
    n_layer: int = 2
    n_head: int = 4
    d_model: int = 128
    allow_deep: bool = False  # more than 10 blocks
    d_ff: int | None = None  # 4 d_model; for a SwiGLU 8/3 d_model, which has as many parameters
    positions: Literal["rope", "alibi", "learned", "sinusoidal", "none"] = "rope"
    rope_theta: float = 10_000.0
    yarn_factor: float = 1.0  # how many times the context has been stretched since training on yarn_length tokens
    yarn_length: int = 4096
    block_size: int = 512  # tokens in a learned position table; the other positions have no limit
    # Of numbers, see picollm/nn/number_positions.py:
    position_ids: PositionIds = "sequential"
    position_offset: int = 0  # in training, all ids of a batch but 0 grow by a random number up to this (Abacus): larger ones are then known too
    column_window: int | None = None  # softmax attention sees tokens whose ids differ by no more than this
    digit_order: DigitOrder = "reversed"  # of coupled ids
    operands: int = 2  # numbers before an answer, of coupled ids
    loops: int = 1  # how many times the blocks are passed through, with the same weights (arXiv 2409.15647)
    input_injection: bool = False  # the embedding is added before every block (arXiv 2405.17399)
    norm: Norm = "layernorm"
    norm_position: Literal["pre", "post", "both"] = "pre"
    norm_eps: float = EPS
    activation: Activation = "gelu"
    bias: bool = True
    dropout: float = 0.0  # of embeddings, of what is added to the residual, and of softmax weights
    tie_embeddings: bool = True
    init: Init = "gpt2"
    # What some kinds of attention have, see picollm/nn/attention.py:
    short_conv: int = 0
    qk_width: int | None = None
    output_norm: bool = False
    softmax_scale: Scale = "constant"
    attention_form: Form = "auto"
    chunk: int | None = None
    head_width: int | None = None
    n_kv_head: int | None = None
    qk_norm: bool = False
    sinks: bool = False
    sliding_window: int | None = None
    full_every: int | None = None
    qkv_bias: bool | None = None

    def __post_init__(self) -> None:
        at_least_one(self, "n_layer", "n_head", "d_model", "d_ff", "block_size", "yarn_factor", "yarn_length", "loops", "operands")
        if self.depth > DEEP and not self.allow_deep:
            raise ValueError(f"n_layer: {self.depth} blocks are more than {DEEP}, which takes long on a CPU; lower it, or set allow_deep: true")
        if self.head_width is None and self.d_model % self.n_head:
            raise ValueError(f"n_head: {self.n_head} does not divide d_model {self.d_model}; choose a divisor")
        self.options()
        if self.positions == "rope" and self.attention != "convolution":
            if self.width % 2:
                name = "n_head: gives" if self.head_width is None else "head_width: gives"
                raise ValueError(f"{name} heads of odd width {self.width}, which rope cannot turn in pairs")
            if self.qk_width is not None and self.qk_width % 2:
                raise ValueError(f"qk_width: rope cannot turn an odd width {self.qk_width} in pairs")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"d_model: sinusoidal positions need an even width, not {self.d_model}")
        above_zero(self, "rope_theta", "norm_eps")
        if self.yarn_factor != 1 and self.positions != "rope":
            raise ValueError(f"yarn_factor: stretches rope, and positions are {self.positions}; remove it")
        if self.yarn_factor != 1 and self.rope_theta <= 1:
            raise ValueError(f"rope_theta: yarn needs one above 1, not {self.rope_theta}")
        share_below_one(self, "dropout")
        if self.position_ids != "sequential" and self.positions not in ("learned", "sinusoidal", "rope"):
            raise ValueError(f"position_ids: {self.position_ids} ids say nothing to positions that are {self.positions}; take learned, sinusoidal or rope")
        if self.position_offset < 0 or (self.position_offset and self.position_ids == "sequential"):
            raise ValueError(f"position_offset: {self.position_offset} is for block and coupled ids, 0 or more; remove it")
        if self.column_window is not None:
            if self.column_window < 1 or self.position_ids == "sequential":
                raise ValueError(f"column_window: {self.column_window} columns of block or coupled ids; give at least 1, and position_ids, or remove it")
            if self.attention != "softmax" or self.positions == "alibi" or self.sliding_window is not None:
                raise ValueError("column_window: is for softmax attention without alibi or sliding_window; remove it or those")
        if self.attention == "convolution" and self.positions == "alibi":
            raise ValueError("positions: alibi is a cost on attention, and a convolution has none; take none")

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
            kind=self.attention,
            n_head=self.n_head,
            short_conv=self.short_conv,
            qk_width=self.qk_width,
            output_norm=self.output_norm,
            softmax_scale=self.softmax_scale,
            form=self.attention_form,
            chunk=self.chunk,
            dropout=self.dropout,
            head_width=self.head_width,
            n_kv_head=self.n_kv_head,
            qk_norm=self.qk_norm,
            sinks=self.sinks,
            sliding_window=self.sliding_window,
            full_every=self.full_every,
            qkv_bias=self.qkv_bias,
        )

    @property
    def width(self) -> int:
        """Of a head."""
        return self.head_width or self.d_model // self.n_head

    @property
    def depth(self) -> int:
        """Blocks that a token passes."""
        return self.n_layer * self.loops

    @property
    def max_length(self) -> int | None:
        return self.block_size if self.positions == "learned" and self.position_ids == "sequential" else None

    @property
    def inner_width(self) -> int:
        return self.d_ff or (8 * self.d_model // 3 if self.activation in GATED else 4 * self.d_model)


class DecodingState:
    """What every layer remembers, and how many tokens that is."""

    def __init__(self, layers: list[AttentionState | ConvolutionState], length: int) -> None:
        self.layers, self.length, self.position = layers, length, 0
        self.ids: Tensor | None = None  # (B, T) of the tokens so far, where positions depend on them

    def tensors(self) -> list[Tensor]:
        """All that linear attention and convolutions remember, (B, ...) each."""
        return [tensor for layer in self.layers for tensor in layer.tensors()]


class Block(nn.Module):
    def __init__(self, config: Config, rotary: Rotary | None, layer: int) -> None:
        super().__init__()
        c = config
        self.post, self.sandwich = c.norm_position == "post", c.norm_position == "both"
        self.norm_attention = norm(c.norm, c.d_model, c.bias, c.norm_eps)
        self.attention: Attention | GatedConvolution
        if c.attention == "convolution":
            self.attention = GatedConvolution(c.d_model, c.short_conv, c.bias)
        else:
            self.attention = Attention(c.d_model, c.options(), c.bias, rotary, c.positions == "alibi", layer)
        self.norm_mlp = norm(c.norm, c.d_model, c.bias, c.norm_eps)
        self.mlp = MLP(c.d_model, c.inner_width, c.activation, c.bias)
        self.dropout = nn.Dropout(c.dropout)
        if self.sandwich:
            self.norm_attention_out = norm(c.norm, c.d_model, c.bias, c.norm_eps)
            self.norm_mlp_out = norm(c.norm, c.d_model, c.bias, c.norm_eps)

    def forward(self, x: Tensor, tap: Tap, site: str, state: Any, start: int, places: Places | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D). `state` is the attention's own, `places` are of tokens that are not in sequence."""
        x = tap(f"{site}resid_pre", x)
        normed = x if self.post else self.norm_attention(x)
        out = (
            self.attention(normed, tap, site, state, start, places)
            if isinstance(self.attention, Attention)
            else self.attention(normed, tap, site, state, start)
        )
        x = x + self.dropout(tap(f"{site}attn_out", self.norm_attention_out(out) if self.sandwich else out))
        x = tap(f"{site}resid_mid", self.norm_attention(x) if self.post else x)
        out = self.mlp(x if self.post else self.norm_mlp(x), tap, site)
        x = x + self.dropout(self.norm_mlp_out(out) if self.sandwich else out)
        return tap(f"{site}resid_post", self.norm_mlp(x) if self.post else x)


class Model(Base):
    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        c = config
        self.embed = nn.Embedding(vocab_size, c.d_model)
        self.positions = nn.Embedding(c.block_size, c.d_model) if c.positions == "learned" else None
        self.rotary = None
        if c.positions == "rope":
            self.rotary = Rotary(c.options().query_width(c.width), c.rope_theta, c.block_size, c.yarn_factor, c.yarn_length)
        self.dropout = nn.Dropout(c.dropout)
        blocks = [Block(c, self.rotary, layer) for layer in range(c.n_layer)]
        self.blocks = nn.ModuleList(blocks)
        self.attentions = [block.attention for block in blocks]  # typed; the modules are the blocks' own
        self.norm = nn.Identity() if c.norm_position == "post" else norm(c.norm, c.d_model, c.bias, c.norm_eps)
        self.head = nn.Linear(c.d_model, vocab_size, bias=False)
        if c.tie_embeddings:
            self.head.weight = self.embed.weight
        self.init_weights()

    def init_weights(self) -> None:
        """By `init`; what each does stands in the table of picollm/nn/initialisation.py."""
        initialise(self, self.config.init, self.config.depth)

    def forward(self, ids: Tensor, state: DecodingState | None = None, tap: Tap | None = None) -> Tensor:
        """(B, T) -> logits (B, T, V). Raises UserError beyond a learned position table."""
        tap = untapped if tap is None else tap  # a tap may well be an empty collection
        start = state.position if state else 0
        places = None if self.config.position_ids == "sequential" else self._places(ids, state)
        x = embedded = tap("embed", self.dropout(self._embed(ids, start, places.ids if places else None)))
        for layer in range(self.config.depth):
            x = x + embedded if layer and self.config.input_injection else x
            x = self.blocks[layer % self.config.n_layer](x, tap, f"{layer}.", state.layers[layer] if state else None, start, places)
        if state:
            state.position += ids.shape[1]
        return tap("logits", self.head(tap("ln_f", self.norm(x))))

    def _embed(self, ids: Tensor, start: int, places: Tensor | None) -> Tensor:
        c, x, end = self.config, self.embed(ids), start + ids.shape[1]
        if self.positions is not None:
            if places is not None:
                end = highest(places) + 1
            if end > c.block_size:
                what = f"the sequence has {end} tokens" if places is None else f"a number has {end - 1} digits"
                raise UserError(f"model.block_size: the table of learned positions ends at {c.block_size}, {what}; shorten it")
            x = x + (self.positions.weight[start:end] if places is None else self.positions(places))
        elif c.positions == "sinusoidal":
            table = sinusoids(ids.shape[1], c.d_model, start) if places is None else sinusoids(end + 2 + c.position_offset, c.d_model)  # of all ids
            x = x + (table.to(x) if places is None else table.to(x)[places])
        return x

    def position_ids(self, ids: Tensor) -> Tensor:
        """(B, T) whole sequences -> (B, T) block or coupled ids, without a training's offset."""
        c, digits = self.config, self.vocab_size - 2
        return block_ids(ids, digits) if c.position_ids == "block" else coupled_ids(ids, digits, c.digit_order, c.operands)

    def _places(self, ids: Tensor, state: DecodingState | None) -> Places:
        """Of the tokens that are new."""
        c, T = self.config, ids.shape[1]
        if state:
            state.ids = ids = ids if state.ids is None else torch.cat((state.ids, ids), 1)
        places = self.position_ids(ids)
        seen = None if c.column_window is None else window(places, T, c.column_window)
        places = places[:, -T:]
        if self.training and c.position_offset:
            places = places + (places > 0) * torch.randint(c.position_offset + 1, (), device=ids.device)
        return Places(places, seen)

    def empty_state(self, batch: int, length: int) -> DecodingState:
        """Memory for a context of up to `length` tokens; linear attention needs the same for any length."""
        like = self.embed.weight
        return DecodingState([attention.empty_state(batch, length, like) for attention in self.attentions * self.config.loops], length)

    def attention_weights(self, recorder: Recorder, layer: int) -> Tensor:
        """(B, H, T, T) from a recorded forward pass: what the kernels applied to the values but never showed."""
        return self.attentions[layer % self.config.n_layer].weights(recorder, f"{layer}.")


def attention_matrices(model: Model, ids: Tensor) -> Tensor:
    """All attention matrices of one forward pass: (B, T) -> (L, B, H, T, T)."""
    recorder = Recorder([f"{layer}.{name}" for layer in range(model.config.depth) for name in ATTENDING])
    with torch.no_grad():
        model(ids, tap=recorder)
        return torch.stack([model.attention_weights(recorder, layer) for layer in range(model.config.depth)])
