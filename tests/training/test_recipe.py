"""The recipe refuses what cannot be trained, by the name of the parameter."""

import pytest

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.training.recipe import Recipe


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, "steps: give either steps or epochs, and not both"),
        ({"steps": 5, "epochs": 1, "data": "fixed"}, "steps: give either steps or epochs"),
        ({"epochs": 2}, "epochs: a stream never ends; set data: fixed"),
        ({"steps": 5, "max_steps_per_epoch": 2}, "max_steps_per_epoch: steps are counted in epochs only where epochs are given"),
        ({"epochs": 5, "data": "fixed", "max_steps_per_epoch": 0}, "max_steps_per_epoch: must be at least 1, not 0"),
        ({"steps": 5, "examples": 2}, "examples: a stream has no number of them; set data: fixed"),
        ({"steps": 5, "data": "fixed", "examples": 0}, "examples: must be at least 1, not 0"),
        ({"steps": 0}, "steps: must be at least 1, not 0"),
        ({"steps": 5, "batch_size": -1}, "batch_size: must be at least 1, not -1"),
        ({"steps": 5, "validate_every": 15}, "validate_every: 15 is no multiple of log_every 10"),
        ({"steps": 5, "lr": 0}, "lr: must be above 0"),
        ({"steps": 5, "weight_decay": -0.1}, "weight_decay: must not be negative"),
        ({"steps": 5, "betas": [0.9]}, "betas: two numbers in [0, 1), not [0.9]"),
        ({"steps": 5, "betas": [0.9, 1.0]}, "betas: two numbers in [0, 1)"),
        ({"epochs": 5, "data": "fixed", "snapshots": 3}, "snapshots: a recipe that counts epochs keeps a checkpoint of each"),
        ({"steps": 5, "snapshots": -1}, "snapshots: must not be negative, not -1"),
        ({"steps": 5, "learning_rate": 0.1}, "learning_rate: unknown parameter"),
        ({"steps": 5, "schedule": "cosin"}, "schedule: input should be 'cosine', 'linear' or 'constant'"),
        ({"steps": 5.5}, "steps: input should be a valid integer"),
    ],
    ids=str,
)
def test_a_mistake_is_named(block, message):
    with pytest.raises(UserError) as caught:
        parse(Recipe, block, "runs.a.training")
    assert str(caught.value).startswith(f"runs.a.training.{message}")


def test_a_whole_number_is_a_learning_rate_too():
    assert parse(Recipe, {"steps": 5, "lr": 1}, "training").lr == 1.0
