"""GPT2LMHeadModel."""

from typing import Any

from picollm.exchange._links import Link, layer, same, transposed
from picollm.nn.decoder import Config

CLASS = "GPT2LMHeadModel"
PREFIX = "transformer."  # which public files leave out
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu2": "relu2"}
NEEDS: dict[str, tuple[Any, ...]] = {"positions": ("learned",), "norm": ("layernorm",), "activation": tuple(ACTIVATIONS), "sinks": (False,)}
NEEDS |= {"sliding_window": (None,), "n_kv_head": (None,), "head_width": (None,)}
FIXED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}


def describe(c: Config) -> dict[str, Any]:
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), c.dropout)
    sizes = {"n_positions": c.block_size, "n_embd": c.d_model, "n_layer": c.n_layer, "n_head": c.n_head, "n_inner": c.inner_width}
    return {**sizes, **dropout, "activation_function": ACTIVATIONS[c.activation], "layer_norm_epsilon": c.norm_eps}


def activation(name: str) -> str:
    """Ours; one that we do not have keeps its name, for our own check to refuse."""
    return ({theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}).get(name, name)


def block(theirs: dict[str, Any]) -> dict[str, Any]:
    return {
        "positions": "learned",
        "n_layer": theirs.get("n_layer", 12),
        "n_head": theirs.get("n_head", 12),
        "d_model": theirs.get("n_embd", 768),
        "d_ff": theirs.get("n_inner"),
        "block_size": theirs.get("n_positions", 1024),
        "activation": activation(theirs.get("activation_function", "gelu_new")),
        "norm_eps": theirs.get("layer_norm_epsilon", 1e-5),
        "dropout": theirs.get("resid_pdrop", 0.1),
        "tie_embeddings": theirs.get("tie_word_embeddings", True),
    }


def links(c: Config) -> list[Link]:
    found = [same("embed.weight", "transformer.wte.weight"), same("positions.weight", "transformer.wpe.weight"), *layer("norm", "transformer.ln_f")]
    for i in range(c.n_layer):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        found += layer(f"{ours}.norm_attention", f"{theirs}.ln_1") + layer(f"{ours}.norm_mlp", f"{theirs}.ln_2")
        found += transposed(f"{ours}.attention.qkv", f"{theirs}.attn.c_attn") + transposed(f"{ours}.attention.out", f"{theirs}.attn.c_proj")
        found += transposed(f"{ours}.mlp.up", f"{theirs}.mlp.c_fc") + transposed(f"{ours}.mlp.down", f"{theirs}.mlp.c_proj")
    return found
