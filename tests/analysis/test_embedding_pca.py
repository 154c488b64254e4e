"""A planted line and a planted period are found, in the right place; shuffled they are not."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis._embeddings import Distances, on_a_line, principal_components
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._spectrum import power
from picollm.analysis.embedding_pca import analyse, period


def plant(subject: Subject, signal: np.ndarray, noise: float = 0.3) -> None:
    """Put signal (127,) along one direction of the value embeddings, and noise along all."""
    rng = np.random.default_rng(0)
    width = subject.model.embed.weight.shape[1]
    table = rng.normal(size=(len(signal), width)) * noise
    table[:, 5] += signal
    with torch.no_grad():
        subject.model.embed.weight[: len(signal)] = torch.from_numpy(table).float()


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


def test_planted_line_is_found(make: Callable[..., Subject]) -> None:
    subject = make()
    plant(subject, np.linspace(-2, 2, 127))
    found = analysed(subject).metrics
    assert found["number_line"]["value"] > 0.9
    assert found["number_line"]["component"] == 1
    assert found["number_line"]["n"] == 127
    assert found["number_line"]["shuffled_p"] == round(1 / 201, 8)
    assert found["explained_by_two"]["value"] > found["explained_by_two"]["untrained_high"]


def test_shuffled_line_is_not_found(make: Callable[..., Subject]) -> None:
    subject = make()
    plant(subject, np.random.default_rng(1).permutation(np.linspace(-2, 2, 127)))
    found = analysed(subject).metrics
    assert found["number_line"]["shuffled_p"] > 0.05
    assert found["period"]["shuffled_p"] > 0.05


def test_planted_period_is_found(make: Callable[..., Subject]) -> None:
    subject = make()
    plant(subject, 1.5 * np.sin(2 * np.pi * 9 * np.arange(127) / 127))
    found = analysed(subject).metrics
    assert found["period"]["frequency"] == 9
    assert found["period"]["period"] == 14.1111
    assert found["period"]["value"] > found["period"]["shuffled_high"]
    assert found["period"]["shuffled_p"] < 0.01
    assert found["number_line"]["shuffled_p"] > 0.05


def test_distances_along_a_curve() -> None:
    """Three quarters of a circle: near values are near, and far ones far, in whatever direction."""
    angle = np.linspace(0, 1.5 * np.pi, 60)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    distances = Distances(circle, np.arange(60.0))
    assert distances.correlation() > 0.9
    assert distances.shuffled().max() < 0.3
    ends = distances.interval()
    assert ends["low"] <= distances.correlation() <= ends["high"]


def test_padding_is_left_out(make: Callable[..., Subject]) -> None:
    subject = make()
    plant(subject, np.linspace(-2, 2, 127))
    before = analysed(subject).metrics
    with torch.no_grad():
        subject.model.embed.weight[127] = 100
    assert analysed(subject).metrics == before


def test_power_of_a_wave_lies_on_its_frequency() -> None:
    angle = 2 * np.pi * 4 * np.arange(60) / 60
    estimate, shares, threshold = period(np.stack([np.cos(angle), np.sin(angle)], 1), [])
    assert np.isclose(shares[3], 1)
    assert np.isclose(shares.sum(), 1)
    assert len(shares) == 30
    assert estimate["period"] == 15
    assert threshold < 0.5


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_power_is_a_share_of_the_variance(half: int, seed: int) -> None:
    """Also at the highest frequency of an even number of rows, which has no mirror image."""
    rng = np.random.default_rng(seed)
    n = np.arange(2 * half)
    variance = rng.uniform(0.1, 3, half)
    waves = [np.sqrt(2) * np.cos(2 * np.pi * k * n / len(n)) for k in range(1, half)] + [np.cos(np.pi * n)]
    assert np.allclose(power(np.stack(waves, 1) * np.sqrt(variance)), variance / variance.sum())


def test_line_against_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    scores, order = rng.normal(size=(50, 4)), rng.integers(0, 9, 50).astype(float)  # with ties
    expected = [abs(spearmanr(scores[:, c], order).statistic) for c in range(3)]
    best, value, ends = on_a_line(scores, order)
    assert np.isclose(value, max(expected))
    assert best == np.argmax(expected)
    assert ends["low"] <= value <= ends["high"]


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_components_rebuild_the_variance(n: int, d: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, d))
    scores, shares = principal_components(x)
    centred = x - x.mean(0)
    assert np.isclose(shares.sum(), 1)
    assert np.all(np.diff(shares) <= 1e-9)
    assert np.allclose(scores @ scores.T, centred @ centred.T)
    assert np.allclose((scores**2).sum(0), shares * (centred**2).sum())


def test_text_is_ordered_by_frequency_and_leaves_unseen_tokens_out(make: Callable[..., Subject]) -> None:
    subject = make("text")
    ids = subject.tokens.split("train")
    count = np.bincount(ids, minlength=subject.model.vocab_size)
    with torch.no_grad():
        subject.model.embed.weight[:, 0] = torch.from_numpy(np.log(count + 1)).float()
    result = analysed(subject)
    assert result.metrics["frequency_line"]["value"] > 0.95
    assert result.metrics["frequency_line"]["n"] == len(np.unique(ids))
    assert "period" not in result.metrics
    assert result.tables[""][0]["token"] == " "


def test_lstm_has_embeddings_too(make: Callable[..., Subject]) -> None:
    assert analysed(make(kind="lstm")).metrics["number_line"]["n"] == 127


def test_ids_that_are_no_numbers_are_skipped(make: Callable[..., Subject]) -> None:
    assert analysed(make("urn")).metrics["period"]["n"] == 16
    assert analyse(make("recall")) == Skip("the ids of this task are names, not numbers")


def test_model_without_a_table_is_skipped(make: Callable[..., Subject]) -> None:
    subject = make()
    del subject.model.embed
    assert analyse(subject) == Skip("transformer has no table of token embeddings")
