"""GPTNeoXForCausalLM with sequential residuals: rotary positions with layer norm, as the transformers of our study have by default."""

from typing import Any

import torch
from torch import Tensor

from picollm.exchange import _rope
from picollm.exchange._links import Link, halves, layer, pairs, same
from picollm.exchange.gpt2 import ACTIVATIONS, activation
from picollm.nn.decoder import Config

CLASS = "GPTNeoXForCausalLM"
PREFIX = "gpt_neox."
NEEDS: dict[str, tuple[Any, ...]] = {"positions": ("rope",), "norm": ("layernorm",), "activation": tuple(ACTIVATIONS), "sinks": (False,)}
NEEDS |= {"sliding_window": (None,), "n_kv_head": (None,), "head_width": (None,)}
FIXED = {"use_parallel_residual": False}
ABSENT = {"use_parallel_residual": True}


def describe(c: Config) -> dict[str, Any]:
    return {
        "hidden_size": c.d_model,
        "intermediate_size": c.inner_width,
        "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head,
        "hidden_act": ACTIVATIONS[c.activation],
        "attention_dropout": c.dropout,
        "hidden_dropout": c.dropout,
        "layer_norm_eps": c.norm_eps,
        "max_position_embeddings": c.block_size,
        "use_parallel_residual": False,
        "attention_bias": True,
        "rope_parameters": {**_rope.describe(c), "partial_rotary_factor": 1.0},
    }


def block(theirs: dict[str, Any]) -> dict[str, Any]:
    return {
        **_rope.read({"rotary_pct": 0.25, "rope_theta": theirs.get("rotary_emb_base", 10_000.0), **theirs}),
        "n_layer": theirs["num_hidden_layers"],
        "n_head": theirs["num_attention_heads"],
        "d_model": theirs["hidden_size"],
        "d_ff": theirs["intermediate_size"],
        "activation": activation(theirs.get("hidden_act", "gelu")),
        "norm_eps": theirs.get("layer_norm_eps", 1e-5),
        "block_size": theirs.get("max_position_embeddings", 2048),
        "dropout": theirs.get("hidden_dropout", 0.0),
        "tie_embeddings": theirs.get("tie_word_embeddings", False),
    }


def links(c: Config) -> list[Link]:
    found = [same("embed.weight", "gpt_neox.embed_in.weight"), *layer("norm", "gpt_neox.final_layer_norm")]
    for i in range(c.n_layer):
        ours, theirs = f"blocks.{i}", f"gpt_neox.layers.{i}"
        found += layer(f"{ours}.norm_attention", f"{theirs}.input_layernorm") + layer(f"{ours}.norm_mlp", f"{theirs}.post_attention_layernorm")
        found += _qkv(f"{ours}.attention.qkv", f"{theirs}.attention.query_key_value", c.n_head)
        found += layer(f"{ours}.attention.out", f"{theirs}.attention.dense")
        found += layer(f"{ours}.mlp.up", f"{theirs}.mlp.dense_h_to_4h") + layer(f"{ours}.mlp.down", f"{theirs}.mlp.dense_4h_to_h")
    return found


def _qkv(ours: str, theirs: str, heads: int) -> list[Link]:
    """Head by head there, a query, a key and a value each; all queries, all keys, all values here."""

    def split(x: Tensor) -> list[Tensor]:
        q, k, v = x.chunk(3)
        parts = [part.unflatten(0, (heads, -1)) for part in (halves(q, heads), halves(k, heads), v)]
        return [torch.stack(parts, 1).flatten(0, 2)]

    def join(parts: list[Tensor]) -> Tensor:
        q, k, v = (part.flatten(0, 1) for part in parts[0].unflatten(0, (heads, 3, -1)).unbind(1))
        return torch.cat((pairs(q, heads), pairs(k, heads), v))

    return [Link(f"{ours}.{name}", (f"{theirs}.{name}",), split, join) for name in ("weight", "bias")]
