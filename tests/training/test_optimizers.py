"""AdamW and Muon: decay on matrices alone, every parameter once, all of the state saved and put back."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from picollm.models.transformer import Config, Model
from picollm.training import optimizers
from picollm.training.muon import Muon, orthogonal
from picollm.training.recipe import Recipe


def build(**recipe):
    model = Model(Config(d_model=16, n_head=2, n_layer=1), 11)
    return model, optimizers.build(model, Recipe(steps=1, **recipe))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_parameter_is_in_one_group_and_matrices_alone_decay(name):
    model, optimizer = build(weight_decay=0.3, optimizer=name)
    members = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, members)) == sorted(map(id, model.parameters()))
    for group in optimizer.param_groups:
        assert {parameter.dim() >= 2 for parameter in group["params"]} == {group["weight_decay"] == 0.3}


def test_without_a_gradient_to_follow_only_matrices_shrink():
    model, optimizer = build(lr=0.1, weight_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if parameter.dim() >= 2 else 1))


def test_the_recipe_reaches_the_optimizer():
    _, optimizer = build(lr=0.01, betas=[0.8, 0.95])
    assert {(group["lr"], *group["rule"].betas) for group in optimizer.param_groups} == {(0.01, 0.8, 0.95)}


def test_muon_takes_the_matrices_between_embedding_and_head():
    model, optimizer = build(optimizer="muon")
    taken = {id(parameter) for group in optimizer.param_groups if isinstance(group["rule"], Muon) for parameter in group["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in taken}
    assert names == {f"blocks.0.{name}.weight" for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")}


def test_muons_update_of_a_matrix_is_orthogonal_and_of_adamws_size():
    model, optimizer = build(optimizer="muon", lr=0.01, weight_decay=0.0)
    weight = model.attentions[0].out.weight
    before = weight.detach().clone()
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    update = (weight.detach() - before).double()
    singular = torch.linalg.svdvals(update)
    assert singular.max() / singular.min() < 3  # those of the gradient itself are a factor of 30 and more apart
    assert torch.linalg.svdvals(weight.grad.double()).max() > 3 * torch.linalg.svdvals(weight.grad.double()).min()
    assert 0.5 < update.square().mean().sqrt() / (0.2 * 0.01) < 1.5  # AdamW's updates are 0.2 lr in the mean


def test_the_state_of_both_goes_through_one_dictionary():
    model, optimizer = build(optimizer="muon", lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert len(state) == len(list(model.parameters()))
    _, other = build(optimizer="muon", lr=0.1)
    other.load_state_dict({"state": state})
    again = other.state_dict()["state"]
    assert all(torch.equal(again[index][key], value) for index, entry in state.items() for key, value in entry.items())


def test_adamw_is_torchs_to_the_bit():
    """Four parameters, one of them without a gradient in the second of three steps."""
    shapes, betas = [(8, 4), (3, 5), (4,), (1,)], (0.8, 0.95)
    ours, theirs = ([nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0))) for shape in shapes] for _ in range(2))
    pair = (
        optimizers.Optimizer([{"rule": optimizers.AdamW(betas), "params": ours, "lr": 0.01, "weight_decay": 0.1}]),
        torch.optim.AdamW(theirs, lr=0.01, betas=betas, weight_decay=0.1, fused=True),
    )
    for step in range(3):
        for parameters, optimizer in zip((ours, theirs), pair, strict=True):
            optimizer.zero_grad()
            for index, parameter in enumerate(parameters):
                if (step, index) != (1, 2):
                    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(10 * step + index))
            optimizer.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_a_training_does_not_import_the_compiler():
    """Which takes 3 s of every process."""
    code = """
import sys, torch
from torch import nn
from picollm.training import optimizers
from picollm.training.recipe import Recipe
model = nn.Linear(4, 4)
optimizer = optimizers.build(model, Recipe(steps=1, optimizer="muon"))
model(torch.ones(4)).sum().backward()
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (16, 64)])
def test_muon_is_torchs_but_for_its_precision(shape):
    """torch.optim.Muon rounds to bfloat16, of eight bits, fifteen times on the way."""
    ours, theirs = (nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0))) for _ in range(2))
    muons = (
        optimizers.Optimizer([{"rule": Muon(), "params": [ours], "lr": 0.01, "weight_decay": 0.1}]),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(3):
        before = ours.detach().clone()
        for parameter, muon in zip((ours, theirs), muons, strict=True):
            parameter.data = before.clone()
            parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step + 1))
            muon.step()
        mine, other = ours.detach() - before, theirs.detach() - before
        assert (mine - other).norm() < 0.03 * other.norm()


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (1, 16, 64)])
def test_orthogonal_matrices_keep_their_directions(shape):
    """U S V becomes U S' V, with all of S' about 1, alone as in a batch."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonal(matrices)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ found @ v.mT
    diagonal = inner.diagonal(dim1=1, dim2=2)
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-9
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.3
    for matrix, alone in zip(matrices, found, strict=True):
        torch.testing.assert_close(orthogonal(matrix[None])[0], alone)
