"""GptOssForCausalLM, with one expert: its router then has nothing to choose."""

from typing import Any

import torch
from torch import Tensor

from picollm.exchange import _rope
from picollm.exchange._links import Link, Weights, same
from picollm.exchange.llama import attention, sizes
from picollm.nn.decoder import Config

CLASS = "GptOssForCausalLM"
PREFIX = "model."
NEEDS: dict[str, tuple[Any, ...]] = {"positions": ("rope",), "norm": ("rmsnorm",), "activation": ("swiglu_clamped",), "sinks": (True,)}
FIXED = {"hidden_act": "silu", "swiglu_alpha": 1.702, "swiglu_limit": 7.0, "num_local_experts": 1}
ABSENT = {"num_local_experts": 128}
YARN = {"rope_type": "yarn", "factor": 32.0, "truncate": False, "original_max_position_embeddings": 4096}  # when their file says nothing


def describe(c: Config) -> dict[str, Any]:
    windows = [c.options().window(i) for i in range(c.n_layer)]
    return {
        "hidden_size": c.d_model,
        "intermediate_size": c.inner_width,
        "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head,
        "num_key_value_heads": c.n_kv_head or c.n_head,
        "head_dim": c.width,
        "num_local_experts": 1,
        "num_experts_per_tok": 1,
        "attention_bias": True,
        "sliding_window": c.sliding_window,
        "layer_types": ["full_attention" if window is None else "sliding_attention" for window in windows],
        "rms_norm_eps": c.norm_eps,
        "max_position_embeddings": c.block_size,
        "attention_dropout": c.dropout,
        "rope_parameters": _rope.describe(c),
    }


def block(theirs: dict[str, Any]) -> dict[str, Any]:
    n_layer = theirs["num_hidden_layers"]
    kinds = theirs.get("layer_types") or ["sliding_attention" if i % 2 == 0 else "full_attention" for i in range(n_layer)]
    full = [kind == "full_attention" for kind in kinds]
    every = full.index(True) + 1 if any(full) else None
    if not all(full) and full != [every is not None and (i + 1) % every == 0 for i in range(n_layer)]:
        raise ValueError(f"layers {', '.join(str(i) for i, alone in enumerate(full) if alone)} without a window, which are not every so many-th")
    window = None if all(full) else theirs.get("sliding_window", 128)
    return {
        **sizes({"head_dim": 64, **theirs}),
        **_rope.read(theirs, 150_000.0, YARN),
        "activation": "swiglu_clamped",
        "sinks": True,
        "bias": True,
        "qkv_bias": theirs.get("attention_bias", True),
        "sliding_window": window,
        "full_every": None if window is None else every,
        "norm_eps": theirs.get("rms_norm_eps", 1e-5),
        "block_size": min(theirs.get("max_position_embeddings", 131_072), 8192),  # of a table that grows when it must
    }


def links(c: Config) -> list[Link]:
    found = [same("embed.weight", "model.embed_tokens.weight"), same("norm.weight", "model.norm.weight")]
    for i in range(c.n_layer):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        found += [*attention(i, c, bias=True), same(f"{ours}.attention.kernel.sinks", f"{theirs}.self_attn.sinks")]
        found += _expert(f"{ours}.mlp.up", f"{theirs}.mlp.experts.gate_up_proj", interleaved=True)
        found += _expert(f"{ours}.mlp.down", f"{theirs}.mlp.experts.down_proj", interleaved=False)
    return found


def _expert(ours: str, theirs: str, interleaved: bool) -> list[Link]:
    """(O, I) of ours is (1, I, O) of theirs; gates and values, which we have one after the other, take turns there."""

    def weave(x: Tensor) -> Tensor:
        return x.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1) if interleaved else x

    def unweave(x: Tensor) -> Tensor:
        return torch.cat((x[::2], x[1::2])) if interleaved else x

    weight = Link(f"{ours}.weight", (theirs,), lambda x: [weave(x).T[None]], lambda parts: unweave(parts[0][0].T))
    bias = Link(f"{ours}.bias", (f"{theirs}_bias",), lambda x: [weave(x)[None]], lambda parts: unweave(parts[0][0]))
    return [weight, bias]


def extra(c: Config) -> Weights:
    """Their tensors without a counterpart: a choice among one."""
    router = {"weight": torch.zeros(1, c.d_model), "bias": torch.zeros(1)}
    return {f"model.layers.{i}.mlp.router.{name}": value.clone() for i in range(c.n_layer) for name, value in router.items()}
