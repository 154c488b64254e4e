"""Ridge regression against the normal equations; its own expectation against rows that it has not seen."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from picollm.analysis._ridge import PENALTIES, Ridge, r_squared


def data(n: int, m: int, noise: float, seed: int, d: int = 6, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + m, d)) * rng.uniform(0.1, 2, d) + rng.normal(size=d)
    y = x @ (rng.normal(size=(d, k)) + 1j * rng.normal(size=(d, k))) + 2 - 1j
    return x, y + noise * (rng.normal(size=y.shape) + 1j * rng.normal(size=y.shape))


@given(st.integers(5, 30), st.floats(0.01, 10), st.integers(0, 2**32 - 1))
def test_every_target_solves_the_normal_equations_for_one_of_the_penalties(n: int, noise: float, seed: int) -> None:
    x, y = data(n, 4, noise, seed)
    ridge = Ridge(x, n)
    predicted = ridge.predict(ridge.fit(y[:n])[0])
    centred, mean = x[:n] - x[:n].mean(0), y[:n].mean(0)
    scatter = centred.T @ centred
    penalties = PENALTIES * np.trace(scatter) / len(scatter)
    solved = np.stack([np.linalg.solve(scatter + penalty * np.eye(len(scatter)), centred.T @ (y[:n] - mean)) for penalty in penalties])
    expected = (x[n:] - x[:n].mean(0)) @ solved + mean  # (P, M, K)
    assert np.all(np.isclose(expected, predicted, atol=1e-6).all(1).any(0))


def test_what_is_linear_is_found_and_what_is_noise_is_not() -> None:
    x, y = data(400, 300, 0.01, 1)
    y[:, 2] = np.random.default_rng(2).normal(size=len(y))
    ridge = Ridge(x, 400)
    coefficients, expected = ridge.fit(y[:400])
    found = r_squared(ridge.predict(coefficients), y[400:])
    assert np.all(found[:2] > 0.99)
    assert abs(found[2]) < 0.05
    assert expected == pytest.approx(found, abs=0.05)


def test_expectation_holds_on_average() -> None:
    pairs = []
    for seed in range(40):
        x, y = data(40, 200, 3, seed)
        ridge = Ridge(x, 40)
        coefficients, expected = ridge.fit(y[:40])
        pairs.append((expected.mean(), r_squared(ridge.predict(coefficients), y[40:]).mean()))
    expected, found = np.mean(pairs, 0)
    assert expected == pytest.approx(found, abs=0.05)


@given(st.integers(8, 40), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_classes_are_fitted_as_their_targets_row_by_row_are(n: int, classes: int, seed: int) -> None:
    x, codes = data(n, 3, 1.0, seed)
    place = np.random.default_rng(seed).integers(classes, size=n)  # not every class occurs
    assume(len(set(place)) > 1)  # targets that never change are rounding
    codes = np.resize(codes, (classes, codes.shape[1]))
    ridge = Ridge(x, n)
    for by_class, by_row in zip(ridge.fit(codes, place), ridge.fit(codes[place]), strict=True):
        assert np.allclose(by_class, by_row, atol=1e-9)


def test_inputs_and_targets_that_never_change() -> None:
    y = np.full((12, 2), 1 + 1j)
    y[:, 1] = np.exp(1j * np.arange(12))
    for x in (np.ones((12, 3)), np.random.default_rng(0).normal(size=(12, 3))):
        ridge = Ridge(x, 8)
        coefficients, expected = ridge.fit(y[:8])
        found = r_squared(ridge.predict(coefficients), y[8:])
        assert expected[0] == found[0] == 0
        assert np.isfinite([*expected, *found]).all()
