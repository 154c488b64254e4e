"""Positions: rotary scores depend on distances alone, and a table that grows keeps its values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn.positions import Rotary, sinusoids

EXAMPLES = settings(max_examples=30)


def at(rotary, x, position):
    return rotary(x.view(1, -1), position)[0]


@EXAMPLES
@given(half=st.integers(1, 16), query=st.integers(0, 500), key=st.integers(0, 500), shift=st.integers(0, 500), seed=st.integers(0, 99))
def test_a_score_depends_on_the_distance_alone(half, query, key, shift, seed):
    rotary = Rotary(2 * half, 10_000.0, 8)
    q, k = torch.randn(2, 2 * half, generator=torch.Generator().manual_seed(seed))
    here = at(rotary, q, query) @ at(rotary, k, key)
    there = at(rotary, q, query + shift) @ at(rotary, k, key + shift)
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_a_score_does_depend_on_the_distance():
    rotary, x = Rotary(8, 10_000.0, 8), torch.ones(8)
    scores = [float(at(rotary, x, 0) @ at(rotary, x, distance)) for distance in range(4)]  # half a turn of the fastest pair
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[3] > 1


def test_each_pair_of_channels_turns_by_its_own_angle():
    rotary = Rotary(4, 100.0, 8)
    turned = at(rotary, torch.tensor([1.0, 0.0, 1.0, 0.0]), 3)
    expected = [math.cos(3), math.sin(3), math.cos(0.3), math.sin(0.3)]  # theta^(-2i/K) is 1 and 1/10
    torch.testing.assert_close(turned, torch.tensor(expected))


@EXAMPLES
@given(T=st.integers(1, 40), start=st.integers(0, 40))
def test_turning_keeps_lengths_and_slices(T, start):
    rotary = Rotary(6, 10_000.0, 100)
    x = torch.randn(2, 3, start + T, 6, generator=torch.Generator().manual_seed(0))
    whole = rotary(x)
    torch.testing.assert_close(whole.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotary(x[:, :, start:], start), whole[:, :, start:])


def test_a_table_that_grew_has_the_values_of_one_made_large():
    small, large = Rotary(8, 10_000.0, 2), Rotary(8, 10_000.0, 64)
    x = torch.randn(50, 8)
    assert torch.equal(small(x), large(x))
    assert len(small.turn) == 50
    assert torch.equal(small.turn, large.turn[:50])


def test_a_table_that_grew_in_inference_mode_still_serves_training():
    rotary, x = Rotary(8, 10_000.0, 2), torch.randn(20, 8, requires_grad=True)
    with torch.inference_mode():
        rotary(x)
    rotary(x).sum().backward()
    assert x.grad is not None


def test_the_table_is_no_part_of_a_checkpoint():
    assert Rotary(8, 10_000.0, 4).state_dict() == {}


@EXAMPLES
@given(length=st.integers(1, 50), half=st.integers(1, 20), start=st.integers(0, 1000))
def test_sinusoids_are_those_of_the_paper(length, half, start):
    table = sinusoids(length, 2 * half, start)
    assert table.shape == (length, 2 * half)
    assert table.dtype == torch.float32
    for row, i in ((0, 0), (length - 1, half - 1)):
        angle = (start + row) / 10_000 ** (2 * i / (2 * half))
        assert float(table[row, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
        assert float(table[row, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize(("width", "theta", "factor", "length"), [(64, 150_000.0, 32.0, 4096), (16, 10_000.0, 4.0, 64), (8, 1000.0, 2.0, 16)])
def test_yarn_is_that_of_transformers(width, theta, factor, length):
    from transformers import GptOssConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {"rope_type": "yarn", "rope_theta": theta, "factor": factor, "original_max_position_embeddings": length, "truncate": False}
    frequency, size = ROPE_INIT_FUNCTIONS["yarn"](GptOssConfig(head_dim=width, rope_parameters=rope), None)
    turn = Rotary(width, theta, 3, factor, length).turn
    torch.testing.assert_close(turn.abs(), torch.full_like(turn.abs(), size))
    torch.testing.assert_close(turn[2].angle(), torch.atan2((2 * frequency).sin(), (2 * frequency).cos()))


def test_a_stretched_turn_has_its_derivative():
    rotary = Rotary(4, 100.0, 5, 4.0, 16)
    rotary.turn = rotary.turn.to(torch.complex128)
    assert torch.autograd.gradcheck(rotary, torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True))


def test_tokens_at_places_of_their_own_turn_as_tokens_there():
    rotary, places = Rotary(8, 100.0, 4), torch.tensor([[0, 5, 1], [2, 2, 9]])
    x = torch.randn(2, 3, 3, 8, generator=torch.Generator().manual_seed(0))
    turned = rotary(x, places=places)
    for row, t in ((0, 1), (1, 1), (1, 2)):
        torch.testing.assert_close(turned[row, :, t : t + 1], rotary(x[row, :, t : t + 1], int(places[row, t])))
