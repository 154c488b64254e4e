"""A planted selective neuron is found on sequences it was not chosen by; noise is not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis._neurons import activations, difference, eta_squared, losses
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.neuron_selectivity import HELD, _Layer, analyse, halves

TYPES = np.repeat(np.arange(4), [40, 10, 6, 30])


def test_eta_squared_by_hand() -> None:
    types = np.array([0, 0, 1, 1])
    x = np.array([[0.0, 0, 5, 0], [0, 2, 5, 1], [1, 0, 5, 2], [1, 2, 5, 3]])
    assert eta_squared(x, types).tolist() == pytest.approx([1, 0, 0, 0.8])
    assert eta_squared(x, np.stack([types, types[[0, 2, 1, 3]]])).shape == (2, 4)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_eta_squared_is_a_share_whatever_the_unit(seed: int, scale: float, shift: float) -> None:
    x = np.random.default_rng(seed).normal(size=(len(TYPES), 3))
    found = eta_squared(x, TYPES)
    assert np.all((found >= 0) & (found <= 1))
    assert np.allclose(found, eta_squared(scale * x + shift, TYPES))


@given(st.lists(st.integers(4, 30), min_size=2, max_size=6))
def test_halves_share_every_type_and_no_sequence(counts: list[int]) -> None:
    types = np.repeat(np.arange(len(counts)), counts)
    first, second = halves(types)
    assert sorted([*first, *second]) == list(range(len(types)))
    assert np.all(np.abs(np.bincount(types[first]) - np.bincount(types[second])) <= 1)


def test_planted_neuron_is_found_and_noise_is_not() -> None:
    x = np.random.default_rng(0).normal(size=(len(TYPES), 500))
    noise = _Layer(x, TYPES, halves(TYPES))
    assert (noise.judged > noise.threshold).mean() < 0.03  # 0.01 expected
    chosen = noise.ranking[0]
    assert noise.chosen[chosen] > noise.threshold > noise.judged[chosen]  # the best of 500 by luck: gone on the other half
    x[:, 77] += 6 * (TYPES == 2)
    planted = _Layer(x, TYPES, halves(TYPES))
    assert planted.ranking[0] == 77
    assert planted.judged[77] > 2 * planted.threshold
    assert planted.z[:, 77].argmax() == 2


def test_activations_are_the_neurons_means(make: Callable[..., Subject]) -> None:
    subject = make(n_layer=3)
    ids = np.random.default_rng(0).integers(0, 127, (70, 9))  # more than one batch
    found = activations(subject.model, ids)
    assert found.shape == (3, 70, 128)
    kept = {}
    with torch.no_grad():
        subject.model(torch.from_numpy(ids[65:66]), tap=lambda site, value: kept.setdefault(site, value))
    assert np.allclose(found[2, 65], kept["2.mlp_post"][0].mean(0).numpy(), atol=1e-6)


def test_a_neuron_that_knows_geometric_sequences(make: Callable[..., Subject]) -> None:
    """The embedding of 126, where classic's geometric sequences end up, drives one neuron, and nothing else does."""
    subject = make(n_layer=1)
    up = subject.model.blocks[0].mlp.up
    with torch.no_grad():
        up.weight[9] = 0
        up.weight[9, 3] = 4
        subject.model.embed.weight[:, 3] = 0
        subject.model.embed.weight[126, 3] = 1
    result = analyse(subject)
    assert isinstance(result, Result)
    best = result.metrics["0.best"]
    assert best["neuron"] == 9
    assert best["value"] > 0.9
    assert best["shuffled_p"] < 0.01
    assert best["value"] > best["untrained_high"]
    assert result.tables[""][0]["highest"] == "geometric"
    assert len(result.tables[""]) == 40
    assert result.tables[""][0]["area_geometric"] == 1
    found = result.metrics["0.area"]
    assert found["value"] > 0.95  # of another neuron perhaps: three sequences of 75 are easily told apart
    assert found["low"] < found["value"]
    selective = result.metrics["0.selective"]
    assert selective["n"] == 128
    assert selective["shuffled"] == pytest.approx(1.28, abs=0.1)


@pytest.mark.parametrize(
    ("data", "block", "reason"),
    [
        ("numeric", {"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
        ("text", {}, "a text has no sequence types to tell apart"),
    ],
)
def test_skips(make: Callable[..., Subject], data: str, block: dict[str, str], reason: str) -> None:
    assert analyse(make(data, **block)) == Skip(reason)


def test_too_few_sequences_are_a_skip(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picollm.analysis.neuron_selectivity.FEWEST", 5)
    assert analyse(make()) == Skip("needs 5 different sequences of 12 terms of every type, there are 4 of counting")


def test_holding_a_neuron_is_felt_where_it_was_needed(make: Callable[..., Subject]) -> None:
    """Neuron 9 sees the 126 of geometric sequences and writes the 126 that follows: without it that is lost, and nothing else."""
    subject = make(n_layer=1, options={"untrained": 2}, tie_embeddings=False)
    model = subject.model
    block = model.blocks[0]
    with torch.no_grad():
        block.mlp.up.weight[9] = 0
        block.mlp.up.weight[9, 3] = 1
        block.mlp.down.weight[:, 9] = 0
        block.mlp.down.weight[5, 9] = 0.1
        model.embed.weight[:, 3] = 0
        model.embed.weight[126, 3] = 1
        model.head.weight[:, 5] = 0
        model.head.weight[126, 5] = 2
    result = analyse(subject)
    assert isinstance(result, Result)
    held = result.metrics["held.geometric"]
    assert held["value"] > held["random_high"]
    assert held["low"] > 0
    assert held["own"] > 0.5 > abs(held["others"])
    assert held["neurons"] == HELD
    assert result.metrics["held.walk"]["value"] < 0.1
    assert all(found["low"] <= found["value"] <= found["high"] for found in result.metrics.values())


def test_holding_no_neuron_changes_nothing_and_holding_one_is_its_mean(make: Callable[..., Subject]) -> None:
    model = make(n_layer=1).model
    ids = np.random.default_rng(0).integers(0, 127, (70, 9))
    before = losses(model, ids)
    expected = torch.nn.functional.cross_entropy(model(torch.from_numpy(ids))[:, :-1].flatten(0, 1), torch.from_numpy(ids[:, 1:]).flatten())
    assert before.mean() == pytest.approx(float(expected.detach()), rel=1e-5)
    means = activations(model, ids).mean(1)
    assert np.abs(losses(model, ids, [(0, 3)], means) - before).max() > 0
    block = model.blocks[0]
    with torch.no_grad():  # a neuron that always is what it is held at
        block.mlp.up.weight[3] = 0
    constant = activations(model, ids).mean(1)
    assert np.allclose(losses(model, ids, [(0, 3)], constant), losses(model, ids), atol=1e-6)


def test_welch_by_hand() -> None:
    from scipy.stats import ttest_ind

    a, b = np.array([1.0, 2, 4]), np.array([0.0, 5, 9, 3, 2])
    expected = ttest_ind(a, b, equal_var=False).confidence_interval()
    assert difference(a, b) == pytest.approx({"low": expected.low, "high": expected.high})
    assert difference(np.ones(3), np.zeros(4)) == {"low": 1, "high": 1}
