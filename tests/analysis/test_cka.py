"""Debiased CKA: noise is not alike, the same layer is, and neither axes nor units matter; the plain form is fooled."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis._cka import between, centred, cka, gram, grams, permuted
from picollm.analysis._result import Subject


def plain(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


@given(st.integers(0, 2**32 - 1))
def test_independent_noise_is_not_alike(seed: int) -> None:
    """64 samples of 512 features: the plain form says 0.88 (Davari et al. 2022)."""
    rng = np.random.default_rng(seed)
    pairs = [rng.normal(size=(2, 64, 512)) for _ in range(3)]
    assert abs(np.mean([cka(x, y) for x, y in pairs])) < 0.03 * np.sqrt(3)
    assert plain(*pairs[0]) == pytest.approx(0.885, abs=0.03)


def test_independent_noise_is_0_on_average() -> None:
    rng = np.random.default_rng(0)
    found = [cka(*rng.normal(size=(2, 64, 512))) for _ in range(60)]
    assert abs(np.mean(found)) < 0.005
    assert abs(cka(*rng.normal(size=(2, 64, 512)))) < 0.03


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-10, 10))
def test_axes_unit_and_origin_do_not_matter(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 20, 6))
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, scale * x @ rotation + shift) == pytest.approx(1)
    assert cka(scale * x @ rotation + shift, y) == pytest.approx(cka(x, y), abs=1e-9)


def test_against_the_definition() -> None:
    """HSIC_1 of Song et al. 2012, term by term."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 5))
    n = 9

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        return float((np.trace(k @ m) + ones @ k @ ones * (ones @ m @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ k @ m @ ones) / (n * (n - 3)))

    k, m = x @ x.T, y @ y.T
    assert cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))
    assert np.allclose(centred(k).sum(1), 0)


def test_a_layer_that_never_changes_is_like_nothing() -> None:
    assert cka(np.ones((8, 3)), np.random.default_rng(0).normal(size=(8, 3))) == 0
    with pytest.raises(AssertionError, match="3 inputs"):
        centred(gram(np.eye(3)))


def test_inputs_in_another_order_are_not_alike() -> None:
    x = np.random.default_rng(2).normal(size=(64, 16))
    found = permuted(gram(x)[None], gram(x)[None])
    assert found.shape == (200, 1, 1)
    assert abs(found.mean()) < 0.01
    assert found.max() < 0.3


def test_layers_of_two_models(make: Callable[..., Subject]) -> None:
    first, second = make().model, make(attention="linear", n_layer=1).model
    ids = np.random.default_rng(0).integers(0, 127, (300, 9))  # more than one batch
    found = between(first, second, ids)
    assert found.shape == (3, 2)
    assert np.allclose(np.diag(between(first, first, ids)), 1)
    assert np.allclose(found, between(second, first, ids).T)
    assert grams(first, ids).shape == (3, 300, 300)
