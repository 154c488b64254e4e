"""What every model promises, checked for every entry of the registry: a new file under picollm/models/ is tested as it is.

`VARIANTS` lists the configurations worth checking apart; an entry that is not listed is checked with its defaults, a preset
in every size that is small enough to be trained here, and built without memory in the others.
"""

from dataclasses import fields
from math import log

import pytest
import torch
import torch.nn.functional as F

from picollm import load, models
from picollm.core import registry
from picollm.core.errors import UserError
from picollm.training import checkpoints, optimizers
from picollm.training.recipe import Recipe

V = 13


def count(block, vocab_size=13):
    """Of parameters, without a byte of them."""
    with torch.device("meta"):
        return models.build(block, vocab_size, "model").n_parameters


SMALL = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_ff": 48, "block_size": 24}  # as far as a model has such parameters
VARIANTS = {
    "transformer": [
        {"attention": "softmax"},
        {"attention": "linear"},
        {"attention": "linear", "attention_form": "chunked", "chunk": 4},
        {"attention": "softmax", "positions": "learned"},
        {"attention": "linear", "positions": "learned"},
        {"attention": "softmax", "positions": "sinusoidal", "norm": "rmsnorm"},
        {"attention": "softmax", "positions": "none", "activation": "swiglu"},
        {"attention": "linear", "positions": "none", "tie_embeddings": False, "bias": False},
        {"attention": "softmax", "norm": "rmsnorm", "activation": "swiglu", "bias": False, "tie_embeddings": False, "n_head": 1},
        {"attention": "softmax", "positions": "alibi", "short_conv": 4},
        {"attention": "softmax", "positions": "none", "output_norm": True, "softmax_scale": "log"},
        {"attention": "linear", "positions": "alibi", "output_norm": True},
        {"attention": "linear_norm", "short_conv": 3},
        {"attention": "taylor", "positions": "none"},
        {"attention": "taylor", "qk_width": 4, "attention_form": "chunked", "chunk": 5},
        {"attention": "retention"},
        {"attention": "gated", "positions": "none", "attention_form": "chunked", "chunk": 3},
        {"attention": "delta", "short_conv": 4},
        {"attention": "delta_negative", "positions": "none", "attention_form": "chunked", "chunk": 4},
        {"attention": "gated_delta", "positions": "alibi", "short_conv": 2, "chunk": 7},
        {"attention": "convolution", "short_conv": 12, "positions": "none"},
        {"norm_position": "post"},
        {"norm_position": "both", "norm": "rmsnorm", "attention": "gated"},
        {"norm_position": "both", "qk_norm": True, "activation": "relu2", "init": "scaled_normal"},
        {"n_kv_head": 2, "activation": "gelu_tanh", "positions": "learned"},
        {"n_kv_head": 1, "head_width": 6, "qk_norm": True, "bias": False, "qkv_bias": True},
        {"sliding_window": 7, "sinks": True, "activation": "swiglu_clamped", "n_kv_head": 2, "full_every": 2},
        {"sliding_window": 7, "positions": "alibi", "softmax_scale": "log", "short_conv": 3},
        {"sliding_window": 9, "positions": "none", "output_norm": True},
        {"sinks": True, "positions": "alibi", "n_kv_head": 2},
        {"yarn_factor": 4.0, "yarn_length": 64, "init": "xavier_uniform", "tie_embeddings": False},
        {"init": "torch_default", "tie_embeddings": False, "positions": "learned"},
        {"position_ids": "block", "positions": "learned", "position_offset": 3, "block_size": 32},
        {"position_ids": "coupled", "positions": "sinusoidal", "loops": 2, "input_injection": True},
        {"position_ids": "block", "positions": "rope", "column_window": 12, "sinks": True},
    ],
    "lstm": [{"cell": "lstm"}, {"cell": "gru"}, {"cell": "lstm", "tie_embeddings": False, "n_layer": 1}, {"cell": "gru", "d_hidden": 40}],
    "kgram": [
        {"variant": "onehot"},
        {"variant": "embedding", "k": 4, "d_hidden": 40, "activation": "relu"},
        {"variant": "convolution", "k": 12, "activation": "gelu"},
        *({"variant": variant, "k": 5, "chunk": 3} for variant in ("onehot", "embedding", "convolution")),
    ],
}
UNCALM = ("xavier_uniform", "torch_default")  # initial weights whose logits are not close to 0
PRESETS = [{"kind": kind, "size": size} for kind in registry.names("models") for size in getattr(registry.load("models", kind, "kind"), "SIZES", ())]
CASES = [{"kind": kind, **variant} for kind in registry.names("models") if kind not in {p["kind"] for p in PRESETS} for variant in VARIANTS.get(kind, [{}])]
CASES += [preset for preset in PRESETS if count(preset) < 200_000]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: "-".join(preset.values()))
def test_every_size_of_a_preset_can_be_built_and_none_is_two(preset):
    assert count(preset, 100) > 0
    config = models.configure(preset, "model")
    assert config.kind == preset["kind"]
    assert [other for other in PRESETS if other["kind"] == preset["kind"] and models.configure(other, "model") == config] == [preset]


def name_of(case):
    return "-".join(str(value) if isinstance(value, str) else f"{key}={value}" for key, value in case.items())


@pytest.fixture(params=CASES, ids=name_of)
def block(request):
    if "size" in request.param:
        return {**request.param, "block_size": SMALL["block_size"]}
    known = {field.name for field in fields(registry.load("models", request.param["kind"], "kind").Config)}
    return {**{key: value for key, value in SMALL.items() if key in known}, **request.param}


def build(block, seed=0):
    torch.manual_seed(seed)
    return models.build(block, V, "model")


@pytest.fixture
def model(block):
    return build(block).eval()


def reach(model, T):
    """How many tokens, itself the last, a token of T sees."""
    return min(getattr(model.config, "k", T), T)


def draw(B, T, seed=0):
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("B", "T"), [(1, 1), (3, 11)])
def test_logits_are_finite_float32_for_every_token(model, B, T):
    logits = model(draw(B, T))
    assert logits.shape == (B, T, V)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert model.vocab_size == V


@torch.no_grad()
def test_a_fresh_model_knows_nothing(model):
    loss = F.cross_entropy(model(draw(8, 20)).flatten(0, 1), draw(8, 20, seed=1).flatten())
    assert float(loss) == pytest.approx(log(V), abs=1 if getattr(model.config, "init", None) in UNCALM else 0.15)


@torch.no_grad()
def test_no_token_sees_a_later_one(model):
    ids = draw(2, 12)
    logits = model(ids)
    for t in range(12):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % V
        again = model(changed)
        torch.testing.assert_close(again[:, :t], logits[:, :t], atol=1e-6, rtol=0)
        end = t + reach(model, 12)
        assert (again[:, t:end] - logits[:, t:end]).abs().amax((0, 2)).min() > 1e-6, "a later token does not see this one"
        torch.testing.assert_close(again[:, end:], logits[:, end:], atol=1e-6, rtol=0)


def test_gradients_reach_the_past_and_only_the_past(model):
    model.embed.weight = torch.nn.Parameter(model.embed.weight.detach().clone())  # a head may be tied to it
    ids = torch.arange(9).unsqueeze(0)  # a row of the table each
    model(ids)[0, 5].logsumexp(-1).backward()
    reached = model.embed.weight.grad[:9].abs().amax(-1)  # (T,)
    assert (reached > 0).tolist() == [6 - reach(model, 6) <= t < 6 for t in range(9)]


@torch.no_grad()
def test_a_sequence_does_not_depend_on_its_batch(model):
    ids = draw(4, 10)
    torch.testing.assert_close(model(ids)[2:3], model(ids[2:3]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1] * 20, [7, 1, 1, 5, 6], [20], [1, 19]], ids=str)
def test_a_state_gives_the_logits_of_the_full_pass(model, cuts):
    ids, start, parts = draw(2, 20), 0, []
    state = model.empty_state(2, 20)
    for count in cuts:
        parts.append(model(ids[:, start : start + count], state=state))
        start += count
        assert state.position == start
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_states_know_nothing_of_each_other(model):
    first, second = model.empty_state(1, 9), model.empty_state(1, 9)
    a, b = draw(1, 8, seed=1), draw(1, 8, seed=2)
    for t in range(8):
        last = model(a[:, t : t + 1], state=first), model(b[:, t : t + 1], state=second)
    torch.testing.assert_close(last[0], model(a)[:, -1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last[1], model(b)[:, -1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_saved_model_comes_back_bit_for_bit(model, block, tmp_path):
    for parameter in model.parameters():  # away from the initial values, which a rebuilt model has anyway
        parameter.add_(0.01)
    checkpoints.save_model(tmp_path, model, {"model": block})
    again = load(tmp_path)
    assert not again.training
    assert again.config == model.config
    assert again.n_parameters == model.n_parameters
    assert {name: value.tolist() for name, value in again.state_dict().items()} == {name: value.tolist() for name, value in model.state_dict().items()}
    assert torch.equal(again(draw(2, 15)), model(draw(2, 15)))
    assert (again.head.weight is again.embed.weight) == getattr(model.config, "tie_embeddings", False)


def test_the_same_seed_gives_the_same_weights(block):
    first, same, other = build(block), build(block), build(block, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.embed.weight, other.embed.weight)


def test_one_batch_is_learned_by_heart(block):
    model, ids = build(block), draw(4, 13)
    ids[:, 0] = torch.arange(4)  # tells the rows apart
    optimizer = optimizers.build(model, Recipe(steps=1, lr=1e-2, weight_decay=0.0))
    for _ in range(300):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.1:
            return
    pytest.fail(f"the loss is still {loss.item():.3f}")


def test_every_parameter_is_trained(model):
    model(draw(3, 14)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_number_of_parameters_counts_a_tied_matrix_once(model):
    assert model.n_parameters == sum({id(p): p.numel() for p in model.parameters()}.values())
    assert f"{model.n_parameters:,} parameters" in repr(model)


@torch.no_grad()
def test_dropout_acts_in_training_alone(block):
    model = build({**block, "dropout": 0.5})
    block = {**block, "dropout": 0.0}
    ids = draw(2, 10)
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))
    assert torch.equal(model(ids), build(block).eval()(ids))


@torch.no_grad()
def test_a_sequence_longer_than_the_model_takes_is_a_user_error(model):
    if model.max_length is None:
        assert model(draw(1, 60)).isfinite().all()  # beyond block_size
    else:
        assert model(draw(1, model.max_length)).isfinite().all()
        with pytest.raises(UserError, match=r"^model\.block_size: .*24.* 25 tokens"):
            model(draw(1, model.max_length + 1))
        state = model.empty_state(1, 30)
        model(draw(1, model.max_length), state=state)
        with pytest.raises(UserError, match="25 tokens"):
            model(draw(1, 1), state=state)
