"""One causal multi-head attention with a kernel of two families behind it, softmax or linear.

Shapes: B batch, T time, D model width, H heads, G key-value heads, K query and key width, V value width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from picollm.core.config import at_least_one
from picollm.nn.convolution import ConvolutionState, ShortConvolution
from picollm.nn.linear_variants import VARIANTS, Form, LinearKernel, LinearState
from picollm.nn.norms import EPS
from picollm.nn.number_positions import Places
from picollm.nn.positions import Rotary
from picollm.nn.softmax_attention import KVCache, Scale, SoftmaxKernel, WindowCache
from picollm.nn.taps import Recorder, Tap, untapped

Kind = Literal[
    "softmax", "linear", "linear_norm", "taylor", "retention", "gated", "delta", "delta_negative", "gated_delta", "convolution"
]  # convolution: picollm/nn/convolution.py, no attention at all
TAYLOR_WIDTH = 16  # of Based: its features grow with the square


@dataclass(frozen=True)
class Options:
    """None, or what stands here as the default, is what every kind accepts; anything else only a kind that has the option."""

    kind: Kind
    n_head: int
    short_conv: int = 0  # tokens that the filters on queries, keys and values span; 0: no filters
    qk_width: int | None = None  # of taylor's queries and keys; the head width, at most 16
    output_norm: bool = False  # softmax, linear, taylor: an RMS norm on a head's output; the other kinds always have it
    softmax_scale: Scale = "constant"  # log: logits grow with the logarithm of the context
    form: Form = "auto"  # linear kinds
    chunk: int | None = None  # tokens, of the linear kinds' chunked form
    dropout: float = 0.0  # of softmax weights
    head_width: int | None = None  # D / H
    n_kv_head: int | None = None  # softmax: heads of keys and values, each shared by n_head / n_kv_head heads
    qk_norm: bool = False  # softmax: an RMS norm on every query and key (arXiv 2302.05442)
    sinks: bool = False  # softmax: a learned logit a head that takes weight and gives nothing
    sliding_window: int | None = None  # softmax: tokens seen, the token itself included
    full_every: int | None = None  # of the layers with a window, every so many-th has none
    qkv_bias: bool | None = None  # of queries, keys and values, where it differs from the other biases

    def __post_init__(self) -> None:
        linear, kind = self.kind in VARIANTS, self.kind
        if self.short_conv < 0 or self.short_conv == 1:
            raise ValueError(f"short_conv: {self.short_conv} tokens; give at least 2, or 0 for none")
        if kind == "convolution" and not self.short_conv:
            raise ValueError("short_conv: is all that attention convolution has; give the tokens it spans, such as 4")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk: {self.chunk} tokens; give at least 1")
        at_least_one(self, "qk_width", "head_width", "n_kv_head", "sliding_window")
        for name, given, has in (
            ("chunk", self.chunk is not None, linear),
            ("attention_form", self.form != "auto", linear),
            ("qk_width", self.qk_width is not None, kind == "taylor"),
            ("softmax_scale", self.softmax_scale != "constant", kind == "softmax"),
            ("n_kv_head", self.n_kv_head is not None, kind == "softmax"),
            ("qk_norm", self.qk_norm, kind == "softmax"),
            ("sinks", self.sinks, kind == "softmax"),
            ("sliding_window", self.sliding_window is not None, kind == "softmax"),
            ("head_width", self.head_width is not None, kind != "convolution"),
            ("qkv_bias", self.qkv_bias is not None, kind != "convolution"),
        ):
            if given and not has:
                raise ValueError(f"{name}: attention {kind} has no such option; remove it")
        if self.n_kv_head is not None and self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head: {self.n_kv_head} does not divide n_head {self.n_head}; choose a divisor")
        if self.full_every is not None and self.sliding_window is None:
            raise ValueError("full_every: without a sliding_window every layer sees everything; remove it, or give the window")
        if self.full_every is not None and self.full_every < 2:
            raise ValueError(f"full_every: must be at least 2, not {self.full_every}; leave sliding_window out for no window at all")
        if self.output_norm and not (kind == "softmax" or (linear and VARIANTS[kind].normalised)):
            raise ValueError(f"output_norm: attention {kind} has {'it anyway' if linear else 'no heads'}; remove it")

    def query_width(self, width: int) -> int:
        """Of a head that is `width` wide."""
        return (self.qk_width or min(width, TAYLOR_WIDTH)) if self.kind == "taylor" else width

    def window(self, layer: int) -> int | None:
        """Of tokens that the layer, counted from 0, sees; None: all."""
        return None if self.full_every and (layer + 1) % self.full_every == 0 else self.sliding_window


class AttentionState:
    """What an attention remembers of the tokens so far."""

    def __init__(self, memory: KVCache | WindowCache | LinearState, convolution: ConvolutionState | None) -> None:
        self.memory, self.convolution = memory, convolution

    def tensors(self) -> list[Tensor]:
        """Of constant size, (B, ...) each: not those of a cache."""
        memory = [self.memory.matrix] if isinstance(self.memory, LinearState) else []
        return memory + (self.convolution.tensors() if self.convolution else [])


class Attention(nn.Module):
    """`rotary` is shared by all layers, hence handed in; None means positions were added to the embedding, are ALiBi's, or none at all."""

    def __init__(self, d_model: int, options: Options, bias: bool, rotary: Rotary | None, alibi: bool, layer: int = 0) -> None:
        super().__init__()
        o, width = options, options.head_width or d_model // options.n_head
        self.n_head, self.n_kv_head, self.width = o.n_head, o.n_kv_head or o.n_head, width
        self.qk_width = o.query_width(width)
        self.parts = {"qkv": [self.n_head * self.qk_width, self.n_kv_head * self.qk_width, self.n_kv_head * width]}  # queries, keys, values
        self.qkv = nn.Linear(d_model, sum(self.parts["qkv"]), bias=bias if o.qkv_bias is None else o.qkv_bias)
        self.norm_q, self.norm_k = (nn.RMSNorm(width, eps=EPS) if o.qk_norm else None for _ in "qk")
        self.convolution = ShortConvolution(self.qkv.out_features, o.short_conv) if o.short_conv else None
        self.kernel: SoftmaxKernel | LinearKernel
        if o.kind == "softmax":
            self.kernel = SoftmaxKernel(o.n_head, width, alibi, o.softmax_scale, o.output_norm, o.dropout, o.n_kv_head, o.window(layer), o.sinks)
        else:
            self.kernel = LinearKernel(o.kind, d_model, o.n_head, self.qk_width, width, alibi, o.output_norm, o.form, o.chunk)
        self.out = nn.Linear(o.n_head * width, d_model, bias=bias)
        self.rotary = [rotary]  # in a list: not a submodule of every layer

    def forward(
        self, x: Tensor, tap: Tap = untapped, site: str = "", state: AttentionState | None = None, start: int = 0, places: Places | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D). With a `state`, x are the tokens from position `start` on, and the state holds those before.

        `places`: where tokens stand that are not in sequence.
        """
        B, T, _ = x.shape
        qkv = self.qkv(x)
        if self.convolution is not None:
            qkv = self.convolution(qkv, state.convolution if state else None)
        # Queries and keys together: half the operator calls, and gradients that are not padded with zeros to the whole each.
        qk, v = qkv.split(((self.n_head + self.n_kv_head) * self.qk_width, self.n_kv_head * self.width), -1)
        qk = qk.view(B, T, -1, self.qk_width).transpose(1, 2)  # (B, H + G, T, K)
        v = v.view(B, T, self.n_kv_head, self.width).transpose(1, 2)
        if self.norm_q is not None and self.norm_k is not None:
            q, k = qk.split((self.n_head, self.n_kv_head), 1)
            qk = torch.cat((self.norm_q(q), self.norm_k(k)), 1)
        if self.rotary[0] is not None:
            qk = self.rotary[0](qk, start, places.ids if places else None)
        q, k = qk.split((self.n_head, self.n_kv_head), 1)
        q, k, v = tap(f"{site}q", q), tap(f"{site}k", k), tap(f"{site}v", v)
        memory = state.memory if state else None
        seen = {"seen": tap(f"{site}seen", places.seen)} if places and places.seen is not None else {}  # of softmax kernels alone
        z = tap(f"{site}z", self.kernel(q, k, v, x, tap, site, memory, start, **seen))
        out: Tensor = self.out(z.transpose(1, 2).reshape(B, T, -1))
        return out

    def empty_state(self, batch: int, length: int, like: Tensor) -> AttentionState:
        convolution = ConvolutionState(batch, len(self.convolution.filters), self.qkv.out_features, like) if self.convolution is not None else None
        return AttentionState(self.kernel.empty(batch, length, like), convolution)

    def weights(self, recorder: Recorder, site: str) -> Tensor:
        """(B, H, T, T) of a recorded pass: the attention matrix, for linear attention the implicit one; what comes of it on values is `kernel.applied`."""
        return self.kernel.weights(recorder, site)
