"""Planted groups of heads are one cluster each, on either half of the sequences; heads of pure noise are not."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from picollm.analysis import _heads
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.head_similarity import adjusted_rand, analyse, cophenetic, layer_gap, stability


def heads(seed: int, n: int, count: int, T: int = 5) -> np.ndarray:
    rows = np.tril(np.random.default_rng(seed).random((n, count, T, T)))
    return np.asarray(rows / rows.sum(-1, keepdims=True))


@given(st.integers(0, 2**32 - 1))
def test_distances_are_those_of_scipy(seed: int) -> None:
    a, b = heads(seed, 2, 3), heads(seed + 1, 2, 2)
    expected = jensenshannon(a[:, :, None], b[:, None], base=2, axis=-1)[..., 1:].mean(-1)
    assert np.allclose(_heads.distances(a, b), expected)


def test_no_overlap_is_one_and_likeness_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    first, self_ = np.zeros((2, 6, 6))
    first[:, 0] = 1
    self_[range(6), range(6)] = 1
    both = np.stack([first, self_])[None]
    monkeypatch.setattr(_heads, "BLOCK", 1)  # a sequence at a time
    assert _heads.distances(both, both)[0].tolist() == [[0, 1], [1, 0]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=12))
def test_adjusted_rand_index_counts_pairs(labels: list[tuple[int, int]]) -> None:
    """Pairs that both put together, less what they would by chance, over the most it could be (Hubert & Arabie 1985)."""
    pairs = list(combinations(labels, 2))
    first, second = (sum(a[k] == b[k] for a, b in pairs) for k in (0, 1))
    both = sum(a == b for a, b in pairs)
    chance, most = first * second / len(pairs), (first + second) / 2
    expected = (both - chance) / (most - chance) if most != chance else 1.0
    assert adjusted_rand(*np.array(labels).T) == pytest.approx(expected)
    assert adjusted_rand(np.array([1, 1, 2, 2]), np.array([2, 2, 1, 1])) == 1
    assert adjusted_rand(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])) == pytest.approx(0.57, abs=0.01)  # the example of scikit-learn's page


def planted(noise: float, groups: bool) -> np.ndarray:
    """(N, 6, 6): distances of three pairs of heads, noisy from sequence to sequence."""
    rng = np.random.default_rng(3)
    apart = 1 - np.kron(np.eye(3), np.ones((2, 2))) if groups else 1 - np.eye(6)
    apart = apart / 2 + noise * rng.random((20, 6, 6))
    apart = (apart + apart.swapaxes(1, 2)) / 2
    apart[:, range(6), range(6)] = 0
    return np.asarray(apart)


def test_planted_clusters_are_stable_and_noise_is_not() -> None:
    assert stability(planted(0.3, groups=True), 3).tolist() == [1.0] * 40
    assert stability(planted(0.3, groups=False), 3).mean() < 0.4
    assert cophenetic(planted(0.01, groups=True).mean(0)) > 0.99 > cophenetic(planted(0.3, groups=False).mean(0))
    assert cophenetic(np.zeros((4, 4))) == 0


def test_layers_that_differ_have_a_gap() -> None:
    apart = planted(0.0, groups=True)[0]
    assert layer_gap(apart, np.repeat([0, 1, 2], 2)) == pytest.approx(0.5)
    assert layer_gap(apart, np.array([0, 1, 0, 1, 0, 1])) < 0


def test_equal_heads_are_no_distance_apart(make: Callable[..., Subject], silence: Callable[[Subject], None]) -> None:
    subject = make(options={"untrained": 2})
    silence(subject)
    result = analyse(subject)
    assert isinstance(result, Result)
    assert result.metrics["arithmetic.distance"]["value"] < 1e-3
    assert result.metrics["arithmetic.cophenetic"]["value"] == 0


def test_all_that_it_finds(make: Callable[..., Subject]) -> None:
    result = analyse(make("text", {"untrained": 2}, attention="delta"))
    assert isinstance(result, Result)
    assert set(result.metrics) == {f"text.{name}" for name in ("distance", "cophenetic", "stability", "layer_gap")}
    assert all(found["low"] <= found["value"] <= found["high"] for found in result.metrics.values())
    assert [row["head"] for row in result.tables[""]] == ["0.0", "0.1", "1.0", "1.1"]
    assert len(result.claims) == 2


@pytest.mark.parametrize(
    ("options", "block", "reason"),
    [
        ({}, {"n_layer": 1}, "2 heads make no tree"),
        ({}, {"attention": "convolution", "short_conv": 4}, "a convolution has no attention matrix"),
        ({}, {"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
    ],
)
def test_skips(make: Callable[..., Subject], options: dict[str, object], block: dict[str, object], reason: str) -> None:
    assert analyse(make(options=options, **block)) == Skip(reason)
