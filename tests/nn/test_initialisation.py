"""Initial weights by name: the table of the module, and the starting loss that follows."""

from math import log

import pytest
import torch
import torch.nn.functional as F

from picollm.nn.decoder import Config, Model

D, L, V = 128, 8, 300


def build(**settings):
    torch.manual_seed(0)
    return Model(Config(**{"d_model": D, "n_head": 4, "n_layer": L, "positions": "learned", **settings}), V).eval()


def spread(parameter):
    return float(parameter.detach().std())


@torch.no_grad()
def test_scaled_normal_keeps_the_size_at_any_width():
    model = build(init="scaled_normal", tie_embeddings=False)
    block = model.blocks[1]
    assert spread(model.embed.weight) == pytest.approx(0.02, rel=0.05)
    assert spread(model.head.weight) == pytest.approx(0.02, rel=0.05)
    assert spread(block.attention.qkv.weight) == pytest.approx(D**-0.5, rel=0.05)
    assert spread(block.attention.out.weight) == pytest.approx((2 * L * D) ** -0.5, rel=0.05)
    assert spread(block.mlp.down.weight) == pytest.approx((2 * L * 4 * D) ** -0.5, rel=0.05)
    assert block.mlp.up.bias.count_nonzero() == 0


@torch.no_grad()
def test_xavier_uniform_knows_the_maps_that_share_a_matrix():
    model = build(init="xavier_uniform", activation="swiglu", n_kv_head=2, tie_embeddings=False)
    block = model.blocks[1]
    queries, keys, values = block.attention.qkv.weight.split([D, D // 2, D // 2])
    inner = model.config.inner_width
    for weight, outputs, inputs in (
        (queries, D, D),
        (keys, D // 2, D),
        (values, D // 2, D),
        (block.mlp.up.weight[:inner], inner, D),
        (block.mlp.up.weight[inner:], inner, D),
        (block.mlp.down.weight, D, inner),
        (model.embed.weight, V, D),
        (model.head.weight, V, D),
    ):
        bound = (6 / (outputs + inputs)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert spread(weight) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert build(init="xavier_uniform").blocks[0].attention.qkv.bias.count_nonzero() == 0


@torch.no_grad()
def test_torch_default_leaves_everything_to_pytorch():
    model = build(init="torch_default")
    assert spread(model.embed.weight) == pytest.approx(1, rel=0.05)
    for weight in (model.blocks[1].mlp.up.weight, model.blocks[1].mlp.up.bias):
        assert 0.9 * D**-0.5 < weight.abs().max() <= D**-0.5


@torch.no_grad()
@pytest.mark.parametrize("init", ["gpt2", "scaled_normal", "xavier_uniform", "torch_default"])
@pytest.mark.parametrize("tied", [True, False])
def test_only_pytorchs_own_embeddings_tied_to_the_head_start_far_from_knowing_nothing(init, tied):
    model, ids = build(init=init, tie_embeddings=tied), torch.randint(0, V, (8, 33))
    loss = float(F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()))
    if init == "torch_default" and tied:
        assert loss > 10 * log(V)
    else:
        assert loss == pytest.approx(log(V), abs=0.5)
