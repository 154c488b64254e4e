"""LlamaForCausalLM."""

from typing import Any

from picollm.exchange import _rope
from picollm.exchange._links import Link, layer, same, stacked
from picollm.nn.decoder import Config

CLASS = "LlamaForCausalLM"
PREFIX = "model."
NEEDS: dict[str, tuple[Any, ...]] = {"positions": ("rope",), "norm": ("rmsnorm",), "activation": ("swiglu",), "sinks": (False,), "sliding_window": (None,)}
FIXED = {"hidden_act": "silu"}


def describe(c: Config) -> dict[str, Any]:
    sizes = {"hidden_size": c.d_model, "intermediate_size": c.inner_width, "num_hidden_layers": c.n_layer, "num_attention_heads": c.n_head}
    heads = {"num_key_value_heads": c.n_kv_head or c.n_head, "head_dim": c.width, "attention_bias": _attention_bias(c), "mlp_bias": c.bias}
    rest = {"rms_norm_eps": c.norm_eps, "max_position_embeddings": c.block_size, "attention_dropout": c.dropout}
    return {**sizes, **heads, **rest, "hidden_act": "silu", "rope_parameters": _rope.describe(c)}


def _attention_bias(c: Config) -> bool:
    """Theirs is one switch for all of attention; what ours lacks becomes zeros."""
    return c.bias or bool(c.qkv_bias)


def sizes(theirs: dict[str, Any]) -> dict[str, Any]:
    """What a config.json of this family says of widths and counts."""
    return {
        "positions": "rope",
        "norm": "rmsnorm",
        "n_layer": theirs["num_hidden_layers"],
        "n_head": theirs["num_attention_heads"],
        "n_kv_head": theirs.get("num_key_value_heads"),
        "head_width": theirs.get("head_dim"),
        "d_model": theirs["hidden_size"],
        "d_ff": theirs["intermediate_size"],
        "dropout": theirs.get("attention_dropout", 0.0),
        "tie_embeddings": theirs.get("tie_word_embeddings", False),
    }


def block(theirs: dict[str, Any]) -> dict[str, Any]:
    attention, mlp = theirs.get("attention_bias", False), theirs.get("mlp_bias", False)
    common = {**sizes(theirs), **_rope.read(theirs), "activation": "swiglu", "bias": attention or mlp, "qkv_bias": attention}
    return {**common, "norm_eps": theirs.get("rms_norm_eps", 1e-6), "block_size": theirs.get("max_position_embeddings", 2048)}


def attention(i: int, c: Config, bias: bool) -> list[Link]:
    """And the norms, named alike in the whole family."""
    ours, theirs, G = f"blocks.{i}", f"model.layers.{i}", c.n_kv_head or c.n_head
    names = tuple(f"{theirs}.self_attn.{name}_proj" for name in "qkv")
    found = stacked(f"{ours}.attention.qkv", names, [c.n_head * c.width, G * c.width, G * c.width], (c.n_head, G), bias)
    found += layer(f"{ours}.attention.out", f"{theirs}.self_attn.o_proj", bias)
    norms = (("norm_attention", "input_layernorm"), ("norm_mlp", "post_attention_layernorm"))
    return found + [same(f"{ours}.{our}.weight", f"{theirs}.{their}.weight") for our, their in norms]


def links(c: Config) -> list[Link]:
    found = [same("embed.weight", "model.embed_tokens.weight"), same("norm.weight", "model.norm.weight")]
    for i in range(c.n_layer):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}.mlp"
        found += attention(i, c, _attention_bias(c))
        found += stacked(f"{ours}.mlp.up", (f"{theirs}.gate_proj", f"{theirs}.up_proj"), [c.inner_width] * 2, (), c.bias)
        found += layer(f"{ours}.mlp.down", f"{theirs}.down_proj", c.bias)
    return found
