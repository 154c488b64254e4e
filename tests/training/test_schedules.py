"""The learning rate: up over the warm-up, then down by its shape."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.training.recipe import Recipe
from picollm.training.schedules import learning_rate

shapes = st.sampled_from(["cosine", "linear", "constant"])


def curve(steps, **settings):
    recipe = Recipe(steps=steps, **settings)
    return [learning_rate(recipe, step, steps) for step in range(steps)]


@given(steps=st.integers(1, 300), warmup=st.integers(0, 100), schedule=shapes, final_lr=st.floats(0, 1), lr=st.floats(1e-5, 1))
def test_it_rises_over_the_warmup_and_never_rises_again(steps, warmup, schedule, final_lr, lr):
    rates, warmup = curve(steps, warmup=warmup, schedule=schedule, final_lr=final_lr, lr=lr), min(warmup, steps // 10)
    assert all(a < b for a, b in pairwise(rates[:warmup]))
    assert all(a >= b for a, b in pairwise(rates[warmup:]))
    assert max(rates) == pytest.approx(lr)
    assert min(rates[warmup:]) >= final_lr * lr * (1 - 1e-9)
    assert rates[0] > 0


@pytest.mark.parametrize(("schedule", "middle"), [("cosine", 0.55), ("linear", 0.55), ("constant", 1.0)])
def test_half_way_and_at_the_end(schedule, middle):
    rates = curve(1000, warmup=0, schedule=schedule, final_lr=0.1, lr=2.0)
    assert rates[0] == 2.0
    assert rates[500] == pytest.approx(2.0 * middle)
    assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 0.2, abs=2e-3)


def test_a_cosine_is_flat_at_both_ends_and_a_line_is_straight():
    cosine, linear = (curve(100, warmup=0, schedule=schedule) for schedule in ("cosine", "linear"))
    assert cosine[0] - cosine[1] < (cosine[50] - cosine[51]) / 10
    assert linear[0] - linear[1] == pytest.approx(linear[50] - linear[51])


def test_the_warmup_takes_no_more_than_a_tenth():
    assert curve(50, warmup=1000, schedule="constant", lr=1.0)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert curve(5, warmup=1000, schedule="constant", lr=1.0) == [1.0] * 5
