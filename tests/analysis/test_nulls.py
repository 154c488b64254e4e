"""Nulls are drawn anew each time within a run, the same from run to run, and leave the global generator alone."""

from collections.abc import Callable

import numpy as np
import torch

from picollm.analysis._nulls import SHUFFLES, permutations, untrained
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
