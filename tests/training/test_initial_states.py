"""Training from states of other sequences: what each row begins with, and that gradients stay within its own sequence."""

import pytest
import torch

from picollm import models
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.training.initial_states import begin
from picollm.training.recipe import Recipe

B, T, V = 6, 9, 11


def build(**block):
    torch.manual_seed(0)
    return models.build({"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 2, "positions": "none", **block}, V, "model")


def ids():
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))


def after(model, rows):
    state = model.empty_state(len(rows), T)
    with torch.no_grad():
        model(rows, state=state)
    return state.tensors()


@pytest.mark.parametrize("block", [{"attention": "linear"}, {"attention": "gated_delta", "short_conv": 3}, {"attention": "convolution", "short_conv": 4}])
def test_a_row_begins_where_the_one_before_it_ended_and_every_other_from_nothing(block):
    model = build(**block)
    ended, state = after(model, ids()), begin(model, ids(), "passed")
    assert len(state.tensors()) == len(ended) > 0
    for began, end in zip(state.tensors(), ended, strict=True):
        assert began[::2].count_nonzero() == 0
        assert torch.equal(began[1::2], end[::2])
        assert not began.requires_grad


def test_random_states_have_the_mean_and_spread_of_real_ones():
    model = build(attention="gated")
    rows = torch.randint(0, V, (4000, T))
    torch.manual_seed(3)
    for began, end in zip(begin(model, rows, "random").tensors(), after(model, rows), strict=True):
        drawn = began[1::2]
        torch.testing.assert_close(drawn.mean(0), end.mean(0), atol=6 * float(end.std()) / 2000**0.5, rtol=0)
        torch.testing.assert_close(drawn.std(0), end.std(0), atol=1e-6, rtol=0.15)


def test_zeros_are_no_state_at_all():
    assert begin(build(attention="linear"), ids(), "zeros") is None


def test_a_passed_state_changes_what_is_predicted_and_teaches():
    model = build(attention="delta")
    state = begin(model, ids(), "passed")
    logits = model(ids(), state=state)
    plain = model(ids())
    torch.testing.assert_close(logits[::2], plain[::2], atol=1e-5, rtol=1e-5)
    assert float((logits[1::2] - plain[1::2]).detach().abs().amax((1, 2)).min()) > 1e-5
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_which_models_have_which():
    assert build(attention="softmax").config.initial_states == ("zeros",)
    assert build(attention="linear").config.initial_states == ("zeros", "passed")
    assert build(attention="delta").config.initial_states == ("zeros", "passed", "random")
    assert build(attention="delta", positions="learned").config.initial_states == ("zeros",)


def test_stored_rows_end_in_padding_and_pass_nothing_on():
    with pytest.raises(UserError, match=r"^training.initial_state: passed would start from states after padding; set data: stream"):
        parse(Recipe, {"steps": 1, "data": "fixed", "initial_state": "passed"}, "training")
