"""A model of ours with the same weights inside TransformerLens.

HookedTransformer is gone since its version 4; what takes its place, TransformerBridge, has a transformer of its own ("native") that needs
no download. Its maps, rotary pairs (neighbours, as ours) and norms are its own code: nothing of ours computes there.
"""

import torch
from torch import Tensor
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformer_lens.model_bridge.sources.native import NativeModel

from picollm.nn.decoder import Model

ARCHITECTURE = "TransformerLensNative"
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "swiglu": "silu"}
NORMS = {"layernorm": "LN", "rmsnorm": "RMS"}
POSITIONS = {"learned": "standard", "rope": "rotary"}
PLAIN = {  # options that theirs has not
    "attention": "softmax",
    "position_ids": "sequential",
    "loops": 1,
    "norm_position": "pre",
    "yarn_factor": 1.0,
    "short_conv": 0,
    "output_norm": False,
    "softmax_scale": "constant",
    "qk_norm": False,
    "sinks": False,
    "sliding_window": None,
}


def expressible(model: torch.nn.Module) -> bool:
    """Has theirs all that this model has?"""
    if not isinstance(model, Model):
        return False
    c = model.config
    return all(getattr(c, name) == plain for name, plain in PLAIN.items()) and c.positions in POSITIONS and c.activation in ACTIVATIONS and c.norm in NORMS


def bridge_config(model: Model) -> TransformerBridgeConfig:
    c = model.config
    return TransformerBridgeConfig(
        architecture=ARCHITECTURE,
        n_layers=c.n_layer,
        n_heads=c.n_head,
        n_key_value_heads=c.n_kv_head,
        d_model=c.d_model,
        d_head=c.width,
        d_mlp=c.inner_width,
        d_vocab=model.vocab_size,
        n_ctx=c.block_size,
        act_fn=ACTIVATIONS[c.activation],
        gated_mlp=c.activation == "swiglu",
        normalization_type=NORMS[c.norm],
        final_rms=c.norm == "rmsnorm",
        eps=c.norm_eps,
        positional_embedding_type=POSITIONS[c.positions],
        rotary_base=c.rope_theta,
    )


def bridged(model: Model) -> TransformerBridge:
    assert expressible(model)
    config = bridge_config(model)
    theirs = NativeModel(config).to(next(model.parameters()).dtype)
    zeros = {name: torch.zeros_like(value) for name, value in theirs.state_dict().items() if name.endswith("bias")}  # of biases that ours has not
    theirs.load_state_dict(zeros | weights(model))
    if model.rotary is not None:
        for name, table in rotary_tables(model).items():
            setattr(theirs.rotary, name, table.to(model.embed.weight))
    return build_bridge_from_module(theirs.eval(), architecture=ARCHITECTURE, tl_config=config)


def rotary_tables(model: Model) -> dict[str, Tensor]:
    """(T, K) each. Theirs calculates the angles in single precision, so at position 500 they are off by 1e-5: compared once, then given ours."""
    turn = model.rotary.turn[: model.config.block_size]
    return {"cos_cached": turn.real.repeat_interleave(2, -1), "sin_cached": turn.imag.repeat_interleave(2, -1)}


def weights(model: Model) -> dict[str, Tensor]:
    found = {"tok_embed.weight": model.embed.weight, "head.weight": model.head.weight, **named("ln_out", model.norm)}
    if model.positions is not None:
        found["pos.weight"] = model.positions.weight
    for number, block in enumerate(model.blocks):
        layer, attention, mlp = f"layers.{number}", block.attention, block.mlp
        found |= named(f"{layer}.ln1", block.norm_attention) | named(f"{layer}.ln2", block.norm_mlp) | named(f"{layer}.attn.o", attention.out)
        for kind, value in named("", attention.qkv).items():
            found |= {f"{layer}.attn.{name}{kind}": part for name, part in zip("qkv", value.split(attention.parts["qkv"]), strict=True)}
        if mlp.parts:  # gate and value
            gate, value = mlp.up.weight.chunk(2)
            found |= {f"{layer}.mlp.gate.weight": gate, f"{layer}.mlp.in.weight": value} | named(f"{layer}.mlp.out", mlp.down)
        else:
            found |= named(f"{layer}.mlp.fc_in", mlp.up) | named(f"{layer}.mlp.fc_out", mlp.down)
    return {name: value.detach().clone() for name, value in found.items()}


def named(name: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{kind}": value for kind, value in module.named_parameters()}
