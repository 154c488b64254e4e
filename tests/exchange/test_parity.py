"""The same weights give the same logits here and in Hugging Face transformers, whichever side they come from."""

import json

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm import exchange, load, models
from picollm.core.errors import UserError
from picollm.exchange._links import halves, pairs
from picollm.training.checkpoints import read_config, save_model

V, T = 37, 40
TOLERANCE = {"atol": 1e-4, "rtol": 0}
SMALL = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64}
WHOLE = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
THEIRS = {
    "gpt2": transformers.GPT2Config(vocab_size=V, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "gpt2-gelu": transformers.GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=2, n_positions=64, activation_function="gelu", n_inner=40),
    "gpt2-untied": transformers.GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=2, n_positions=64, tie_word_embeddings=False),
    "llama": transformers.LlamaConfig(**SMALL, intermediate_size=48),
    "llama-grouped": transformers.LlamaConfig(**SMALL, intermediate_size=48, num_key_value_heads=2, tie_word_embeddings=True, head_dim=12),
    "llama-3": transformers.LlamaConfig(
        **SMALL, intermediate_size=48, num_key_value_heads=1, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 500_000.0}
    ),
    "llama-attention-biases": transformers.LlamaConfig(**SMALL, intermediate_size=48, attention_bias=True),
    "llama-mlp-biases": transformers.LlamaConfig(**SMALL, intermediate_size=48, mlp_bias=True),
    "gpt_oss": transformers.GptOssConfig(
        **SMALL, intermediate_size=48, num_key_value_heads=2, head_dim=16, sliding_window=8, num_local_experts=1, num_experts_per_tok=1
    ),
    "gpt_oss-no-window": transformers.GptOssConfig(
        **SMALL, intermediate_size=48, head_dim=8, num_local_experts=1, num_experts_per_tok=1, layer_types=["full_attention"] * 3, num_key_value_heads=4
    ),
    "gpt_oss-plain-rope": transformers.GptOssConfig(
        **SMALL,
        intermediate_size=48,
        head_dim=8,
        num_key_value_heads=4,
        num_local_experts=1,
        num_experts_per_tok=1,
        sliding_window=5,
        layer_types=["sliding_attention"] * 3,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**SMALL, intermediate_size=64, use_parallel_residual=False, rope_parameters=WHOLE),
}
OURS = {
    "gpt2": {"kind": "gpt2", "size": "tiny"},
    "mingpt": {"kind": "mingpt", "size": "tiny", "dropout": 0.1},
    "llama": {"kind": "llama", "size": "tiny"},
    "gpt_oss": {"kind": "gpt_oss", "size": "tiny"},
    "gpt_oss-full": {"kind": "gpt_oss", "size": "full", "n_layer": 4, "n_head": 4, "n_kv_head": 2, "d_model": 24, "d_ff": 20, "head_width": 8},
    "gpt_oss-small": {"kind": "gpt_oss", "size": "small", "n_layer": 2, "n_head": 2, "d_model": 16, "d_ff": 20},  # which is a Llama
    "transformer": {"kind": "transformer", "n_layer": 2, "d_model": 32, "n_head": 4},
    "relu2": {"kind": "transformer", "n_layer": 2, "d_model": 32, "n_head": 4, "activation": "relu2", "bias": False, "tie_embeddings": False},
    "no-biases": {"kind": "gpt2", "size": "tiny", "bias": False},
    "biases": {"kind": "llama", "size": "tiny", "qkv_bias": True},
    "other-biases": {"kind": "llama", "size": "tiny", "bias": True, "qkv_bias": False},
    "windows": {"kind": "gpt_oss", "size": "tiny", "n_layer": 6, "full_every": 3, "bias": False, "tie_embeddings": True},
}


def ids(seed=0):
    return torch.randint(0, V, (2, T), generator=torch.Generator().manual_seed(seed))


def shaken(model):
    """Away from initial values, under which biases, sinks and gains would hide a mistake."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", THEIRS)
def test_a_model_of_theirs_comes_with_its_logits(name, tmp_path):
    torch.manual_seed(0)
    theirs = shaken(transformers.AutoModelForCausalLM.from_config(THEIRS[name], attn_implementation="eager"))
    theirs.save_pretrained(tmp_path / "theirs")
    exchange.import_(tmp_path / "theirs", tmp_path / "ours")
    ours, expected = load(tmp_path / "ours"), theirs(ids()).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(ids()), expected, **TOLERANCE)
    state = ours.empty_state(2, T)
    parts = [ours(part, state=state) for part in (ids()[:, :20], *ids()[:, 20:].split(1, 1))]
    torch.testing.assert_close(torch.cat(parts, 1), expected, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("name", OURS)
def test_a_model_of_ours_goes_with_its_logits_and_comes_back(name, tmp_path):
    torch.manual_seed(0)
    model = shaken(models.build({**OURS[name], "block_size": 64}, V, "model"))
    save_model(tmp_path / "ours", model, {"model": {**OURS[name], "block_size": 64}, "kind": "text", "whole": False})
    exchange.export(tmp_path / "ours", tmp_path / "theirs")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", attn_implementation="eager").eval()
    expected = model(ids())
    torch.testing.assert_close(theirs(ids()).logits, expected, **TOLERANCE)
    exchange.import_(tmp_path / "theirs", tmp_path / "back")
    torch.testing.assert_close(load(tmp_path / "back")(ids()), expected, atol=1e-5, rtol=0)
    assert read_config(tmp_path / "back")["whole"] is False


@torch.no_grad()
def test_public_files_without_the_prefix_and_with_masks_are_read(tmp_path):
    torch.manual_seed(0)
    theirs = shaken(transformers.GPT2LMHeadModel(THEIRS["gpt2"]))
    theirs.transformer.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs/model.safetensors"
    weights = exchange.load_file(file)
    assert "wte.weight" in weights
    exchange.checkpoints.save_tensors(file, {**weights, "h.0.attn.bias": torch.ones(1, 1, 64, 64)})
    exchange.import_(tmp_path / "theirs", tmp_path / "ours")
    torch.testing.assert_close(load(tmp_path / "ours")(ids()), theirs(ids()).logits, **TOLERANCE)


@settings(max_examples=20)
@given(heads=st.integers(1, 4), half=st.integers(1, 5), bias=st.booleans())
def test_the_order_of_rotary_channels_has_a_way_back(heads, half, bias):
    x = torch.arange(heads * 2 * half * 3.0).view(heads * 2 * half, 3)
    x = x[:, 0] if bias else x
    assert torch.equal(pairs(halves(x, heads), heads), x)
    assert torch.equal(halves(x, heads).view(heads, 2, half, -1)[0, 1, 0], x.view(heads, 2 * half, -1)[0, 1])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "transformer", "attention": "linear", "short_conv": 4}, "the nearest, GPTNeoXForCausalLM, lacks attention: linear, short_conv: 4"),
        ({"kind": "transformer", "positions": "alibi"}, "lacks positions: alibi"),
        ({"kind": "llama", "size": "tiny", "norm_position": "post", "qk_norm": True}, "LlamaForCausalLM, lacks qk_norm: true, norm_position: post"),
        ({"kind": "llama", "size": "tiny", "sliding_window": 8}, "LlamaForCausalLM, lacks sliding_window: 8"),
        ({"kind": "pico", "size": "tiny"}, "GPT2LMHeadModel, lacks norm: rmsnorm"),
        ({"kind": "lstm"}, "an lstm has no counterpart in transformers"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_named_in_one_line(block, message, tmp_path):
    save_model(tmp_path / "ours", models.build(block, V, "model"), {"model": block})
    with pytest.raises(UserError) as caught:
        exchange.export(tmp_path / "ours", tmp_path / "theirs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"model_type": "bert"}, "model_type bert has no counterpart here"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act gelu has no counterpart here"),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rotary positions of the kind llama3 have no counterpart"),
        ("gpt2", {"activation_function": "tanh"}, "model.activation: input should be 'gelu', "),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True has no counterpart here"),
        ("gpt_oss", {"num_local_experts": 4}, "num_local_experts 4 has no counterpart here, which has 1 alone"),
        ("gpt_oss", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layers 0, 2 without a window"),
        ("gpt_neox", {"use_parallel_residual": True}, "use_parallel_residual True has no counterpart here"),
        ("llama", {"num_hidden_layers": 4}, "the weight model.layers.3.self_attn.q_proj.weight is missing"),
        ("llama", {"num_hidden_layers": 2}, "its weights model.layers.2."),
        ("llama", {"intermediate_size": 44}, "the weights do not fit the model that config.json describes"),
        ("llama", {"hidden_size": None}, "model.d_model: "),
    ],
    ids=str,
)
def test_what_cannot_be_imported_is_named_in_one_line(kind, changes, message, tmp_path):
    transformers.AutoModelForCausalLM.from_config(THEIRS[kind]).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError) as caught:
        exchange.import_(tmp_path / "theirs", tmp_path / "ours")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_a_folder_in_use_or_without_a_model_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    for call in (exchange.export, exchange.import_):
        with pytest.raises(UserError, match="is there already; name a new folder"):
            call(tmp_path / "none", tmp_path / "full")
    with pytest.raises(UserError, match="no model of transformers"):
        exchange.import_(tmp_path / "none", tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/config.json").write_text(json.dumps(THEIRS["llama"].to_dict()))
    with pytest.raises(UserError, match=r"holds no \*\.safetensors"):
        exchange.import_(tmp_path / "theirs", tmp_path / "ours")
    (tmp_path / "theirs/model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="truncated or not a safetensors file"):
        exchange.import_(tmp_path / "theirs", tmp_path / "ours")
