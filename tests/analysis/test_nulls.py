"""Nulls are drawn anew each time within a run, the same from run to run, and leave the global generator alone."""

from collections.abc import Callable

import numpy as np
import torch

from picollm.analysis._nulls import SHUFFLES, family_wise, permutations, untrained
from picollm.analysis._result import Subject


def test_untrained_models_differ_from_each_other_and_not_from_run_to_run(make: Callable[..., Subject]) -> None:
    subject = make(options={"untrained": 4})
    before = torch.get_rng_state()
    first, second = ([model.embed.weight.detach() for model in untrained(subject)] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(weights.flatten().tolist()) for weights in [*first, subject.model.embed.weight.detach()]}) == 5
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_permutations_are_orders_and_differ() -> None:
    orders = np.stack(list(permutations(20, seed=1)))
    assert orders.shape == (SHUFFLES, 20)
    assert np.array_equal(np.sort(orders, 1), np.tile(np.arange(20), (SHUFFLES, 1)))
    assert len(np.unique(orders, axis=0)) == SHUFFLES
    assert np.array_equal(orders, np.stack(list(permutations(20, seed=1))))


def test_the_highest_of_many_heads_is_held_against_the_highest() -> None:
    """Of fresh heads, one of a model's eight is below 0.05 in about 5 % of models; one at a time it would be a third."""
    rng = np.random.Generator(np.random.PCG64(4))
    found, null = rng.normal(size=(400, 2, 4)), rng.normal(size=(400, 99, 2, 4))
    p = np.stack([family_wise(one, its) for one, its in zip(found, null, strict=True)])
    assert p.shape == found.shape
    assert 0.025 < (p.min((1, 2)) <= 0.05).mean() < 0.085
    assert family_wise(np.array([[9.0, -9.0]]), null[0, :, :1, :2]).tolist() == [[0.01, 1.0]]
