"""Uniform attention is flat; a planted path is found; scipy's maximum flow is networkx's."""

from collections.abc import Callable

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis import _flow
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.attention_flow import analyse, averaged, scores, traces, visible
from picollm.analysis.attention_maps import uniform


def random_weights(seed: int, layers: int = 3, T: int = 6) -> np.ndarray:
    weights = np.tril(np.random.default_rng(seed).random((layers, T, T)) ** 4)
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


def test_rollout_of_six_uniform_layers_is_far_from_a_sixteenth() -> None:
    weights = np.stack([uniform(16)] * 6)
    assert _flow.rollout(weights)[0] == pytest.approx(0.405, abs=5e-4)
    for found in (_flow.rollout(weights), _flow.flow(weights)):
        assert np.allclose(_flow.corrected(found, found), 1, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_rollout_is_the_product_and_a_share(seed: int) -> None:
    weights = random_weights(seed)
    a, b, c = (matrix / 2 + np.eye(6) / 2 for matrix in weights)
    assert np.allclose(_flow.rollout(weights), (c @ b @ a)[-1])
    assert np.allclose(_flow.reach(weights).sum(-1), 1)


@pytest.mark.parametrize("seed", range(50))
def test_maximum_flow_is_that_of_networkx(seed: int) -> None:
    weights = random_weights(seed)
    L, T, _ = weights.shape
    graph = networkx.DiGraph()
    for layer, matrix in enumerate(_flow.with_residual(weights)):
        for query, key in np.argwhere(matrix > 0):
            graph.add_edge((layer + 1, int(query)), (layer, int(key)), capacity=float(matrix[query, key]))
    expected = [networkx.maximum_flow_value(graph, (L, T - 1), (0, token)) for token in range(T)]
    assert np.allclose(_flow.flow(weights), expected, atol=1e-7)


def test_no_more_flows_than_the_last_token_takes_in() -> None:
    """A head that looks at the previous token only, in both of two layers: three tokens are within reach."""
    T = 6
    back = np.eye(T, k=-1)
    back[0, 0] = 1
    weights = np.stack([back, back])
    assert _flow.rollout(weights).tolist() == [0, 0, 0, 0.25, 0.5, 0.25]
    assert _flow.flow(weights).tolist() == [0, 0, 0, 0.5, 1.0, 0.5]


def test_scores_of_a_single_path() -> None:
    found = np.zeros(10)
    found[-1] = 10  # all from the last token
    assert scores(found) == {"uneven": pytest.approx(0.9), "first": 0, "last": 10}
    assert scores(np.ones(10))["uneven"] == 0


def test_a_token_out_of_reach_counts_as_uniform() -> None:
    found = _flow.corrected(np.array([0.0, 0.2, 0.6]), np.array([0.0, 0.5, 0.5]))
    assert found.tolist() == pytest.approx([1, 0.5, 1.5])


@pytest.mark.parametrize("block", [{"attention": "softmax"}, {"attention": "linear"}, {"attention": "softmax", "sliding_window": 3}], ids=str)
def test_equal_scores_give_a_flat_flow(make: Callable[..., Subject], silence: Callable[[Subject], None], block: dict[str, object]) -> None:
    subject = make(options={"untrained": 1}, **block)
    silence(subject)
    result = analysed(subject)
    for name in ("arithmetic.rollout", "arithmetic.flow", "alternating.flow"):
        assert np.allclose(result.arrays[""][name], 1, atol=1e-6)
        assert result.metrics[f"{name}.uneven"]["value"] < 1e-6
        assert result.metrics[f"{name}.first"]["value"] == pytest.approx(1, abs=1e-6)


def test_windows_of_columns_narrow_what_uniform_weights_reach(make: Callable[..., Subject]) -> None:
    columns = {"n_layer": 1, "positions": "learned", "position_ids": "block", "block_size": 8, "column_window": 1, "sinks": True}
    subject = make("addition", {"untrained": 2}, **columns)
    ids = np.asarray(subject.tokens.split("test")[:3], np.int64)
    expected = visible(subject.model, ids)
    weights = averaged(subject.model, ids)
    assert np.array_equal(expected > 0, weights > 0)
    assert np.all(weights.sum(-1) < 0.99)  # sinks took the rest
    assert analysed(subject).metrics["addition.flow.uneven"]["n"] == 12


def test_a_model_that_attends_to_its_first_token_only(make: Callable[..., Subject]) -> None:
    """Two layers: half of the last token's rollout stays a quarter, and all that attention brings is the first token's."""
    subject = make("text")
    T = 12
    to_first = np.zeros((2, 3, T, T))
    to_first[..., 0] = 1
    assert traces(to_first)["rollout"][0].tolist() == pytest.approx([0.75, *[0] * (T - 2), 0.25])
    metrics = analysed(subject).metrics
    assert set(metrics) == {f"text.{kind}.{score}" for kind in ("rollout", "flow") for score in ("uneven", "first", "last")}
    assert all(found["low"] <= found["value"] <= found["high"] for found in metrics.values())


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"attention": "delta"}, "the rows of delta attention are no probabilities: they do not sum to one, and nothing says which part came from where"),
        ({"attention": "convolution", "short_conv": 4}, "a convolution has no attention matrix"),
        ({"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
    ],
)
def test_skips(make: Callable[..., Subject], block: dict[str, object], reason: str) -> None:
    assert analyse(make(**block)) == Skip(reason)


def test_same_numbers_for_the_same_weights(make: Callable[..., Subject]) -> None:
    torch.manual_seed(1)
    first = analysed(make(options={"untrained": 2}, n_layer=1)).metrics
    torch.manual_seed(2)
    assert analysed(make(options={"untrained": 2}, n_layer=1)).metrics == first
