"""AdamW: decay on matrices alone, every parameter once."""

import torch

from picollm.models.transformer import Config, Model
from picollm.training import optimizers
from picollm.training.recipe import Recipe


def build(**recipe):
    model = Model(Config(d_model=16, n_head=2, n_layer=1), 11)
    return model, optimizers.build(model, Recipe(steps=1, **recipe))


def test_every_parameter_is_in_one_group_and_matrices_alone_decay():
    model, optimizer = build(weight_decay=0.3)
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
    assert {(group["lr"], *group["betas"]) for group in optimizer.param_groups} == {(0.01, 0.8, 0.95)}
