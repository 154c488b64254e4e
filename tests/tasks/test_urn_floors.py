"""The urn: its probabilities against the integral over all laws, its expected loss against every sequence there is."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_jacobi

from picollm.tasks import numeric, urn
from picollm.tasks._rows import load
from picollm.tasks.numeric.spec import specification
from picollm.tasks.numeric.values import VALUES as NUMERIC_VALUES
from picollm.tasks.numeric.walk import STEPS as NUMERIC_STEPS
from picollm.tasks.urn.config import STEPS
from picollm.tasks.urn.floors import beta_binomial, expected, oracle
from picollm.tasks.urn.predictor import probabilities, sequence_losses, steps_of
from picollm.tasks.urn.sets import draw

VALUES = 16
ALPHAS = pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])


def urn_of(alpha=1.0, values=VALUES, **sizes):
    return urn.Config(kind="urn", **{"train": 1, "validation": 1, "test": 1, "long": 1, **sizes}, alpha=alpha, values=values)


def walk(steps, start=12):
    """Indices into STEPS -> values."""
    return np.array([[start, *(start + np.cumsum(np.array(STEPS)[list(steps)]))]]) % VALUES


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


# --- the predictor ------------------------------------------------------------------------------------------------------


def integral(alpha, counts):
    """E[p_1^c1 ... p_4^c4] over the Dirichlet distribution, by breaking a stick three times; Gauss-Jacobi nodes are exact for polynomials."""
    total = 1.0
    left = sum(counts)
    for i, count in enumerate(counts[:3]):
        left -= count
        x, w = roots_jacobi(20, (3 - i) * alpha - 1, alpha - 1)
        piece = (x + 1) / 2  # Beta(alpha, (3 - i) alpha)
        total *= (w * piece**count * (1 - piece) ** left).sum() / w.sum()
    return total


@settings(max_examples=50)
@given(steps=st.lists(st.integers(0, 3), min_size=1, max_size=12), alpha=st.floats(0.05, 20))
def test_probabilities_are_the_integral_over_all_laws_and_add_up_to_one(steps, alpha):
    values = walk(steps)
    law = probabilities(alpha, values, VALUES)[0]
    assert law.sum(1) == pytest.approx(np.ones(len(steps)))
    for t in range(len(steps)):
        counts = np.bincount(steps[:t], minlength=4)
        posterior = [integral(alpha, counts + np.eye(4, dtype=int)[s]) / integral(alpha, counts) for s in range(4)]
        assert law[t] == pytest.approx(posterior, rel=1e-6)
    losses = sequence_losses(alpha, values, np.array([len(steps) + 1]), VALUES)[0]
    assert losses[1:] == pytest.approx(-np.log(law[np.arange(len(steps)), steps]))


def test_the_pad_is_not_scored_and_not_read():
    values = draw(rng(), urn_of(1.0), 50, 30)
    lengths = rng(1).integers(2, 31, 50)
    losses = sequence_losses(1.0, values, lengths, VALUES)
    assert (np.isnan(losses) == ((np.arange(30) >= lengths[:, None]) | (np.arange(30) == 0))).all()
    for filler in (-1, VALUES):
        padded = np.where(np.arange(30) >= lengths[:, None], filler, values)
        assert np.array_equal(sequence_losses(1.0, padded, lengths, VALUES), losses, equal_nan=True)


def test_with_as_many_values_its_sequences_are_modular_walks():
    assert tuple(NUMERIC_STEPS) == STEPS
    values = draw(rng(), urn_of(values=NUMERIC_VALUES), 40, 50).astype(int)
    kernel = specification("modular", 0.15, 8).walk.kernel
    assert (kernel[values[:, :-1], values[:, 1:]] > 0).all()
    assert numeric.Config(kind="numeric", spec="modular", train=1, validation=1, test=1, long=1).pad == urn_of(values=NUMERIC_VALUES).pad


# --- drawing ------------------------------------------------------------------------------------------------------------


@ALPHAS
def test_sequences_have_laws_of_their_own_and_starts_anywhere(alpha):
    values = draw(rng(), urn_of(alpha), 20_000, 101)
    steps = steps_of(values, VALUES)
    shares = np.stack([(steps == s).mean(1) for s in range(4)], 1)
    assert shares.mean(0) == pytest.approx([0.25] * 4, abs=0.01)
    p = 0.25
    of_law = p * (1 - p) / (4 * alpha + 1)  # the variance of a Dirichlet's part, and that of counting 100 steps
    assert shares.var(0) == pytest.approx([of_law + (p * (1 - p) - of_law) / 100] * 4, rel=0.05)
    assert np.bincount(values[:, 0], minlength=VALUES) / len(values) == pytest.approx([1 / VALUES] * VALUES, abs=0.01)


def test_stored_floors_are_the_predictors(tmp_path):
    config = urn_of(0.5, train=30, validation=5, test=20, long=5, long_lengths=[100])
    urn.generate(config, tmp_path)
    for split in ("test", "length100"):
        losses = sequence_losses(0.5, load(tmp_path, split, "values"), load(tmp_path, split, "length"), VALUES)
        np.testing.assert_allclose(load(tmp_path, split, "floor"), losses, rtol=1e-6)


# --- expected floors ----------------------------------------------------------------------------------------------------


@ALPHAS
def test_expected_floor_equals_brute_force(alpha):
    L = 6
    loss, accuracy = np.zeros((2, L))
    for steps in product(range(4), repeat=L - 1):
        law = probabilities(alpha, walk(steps), VALUES)[0]
        p = law[np.arange(L - 1), steps].prod()
        loss[1:] += -p * np.log(law[np.arange(L - 1), steps])
        accuracy[1:] += p * law.max(1)  # what the likeliest step is right with
    found = expected(alpha, L)
    assert found.loss[1:] == pytest.approx(loss[1:])
    assert found.accuracy[1:] == pytest.approx(accuracy[1:])
    assert np.isnan([found.loss[0], found.accuracy[0]]).all()


@ALPHAS
def test_sampled_losses_agree_with_the_expected_floor(alpha):
    values = draw(rng(), urn_of(alpha), 20_000, 65)
    losses = sequence_losses(alpha, values, np.full(20_000, 65), VALUES)
    found = expected(alpha, 65)
    assert losses[:, 1:].mean(0) == pytest.approx(found.loss[1:], abs=0.03)
    assert np.nanmean(losses) == pytest.approx(np.nanmean(found.loss), abs=0.005)
    law = probabilities(alpha, values, VALUES)
    hits = law.argmax(2) == steps_of(values, VALUES)
    assert hits.mean() == pytest.approx(np.nanmean(found.accuracy), abs=0.005)


@pytest.mark.parametrize("n", [0, 1, 7, 60])
def test_with_alpha_one_counts_are_uniform_over_compositions(n):
    assert beta_binomial(n, 1, 3) == pytest.approx([comb(n - k + 2, 2) / comb(n + 3, 3) for k in range(n + 1)])
    larger = [sum((-1) ** (j + 1) * comb(4, j) * comb(n - j * m + 3, 3) for j in range(1, 5) if j * m <= n) / comb(n + 3, 3) for m in range(1, n + 1)]
    assert expected(1.0, n + 2).accuracy[-1] == pytest.approx((sum(larger) + 1) / (n + 4))  # E[largest count] by inclusion and exclusion


@ALPHAS
def test_the_floor_falls_towards_what_the_oracle_reaches(alpha):
    found, known = expected(alpha, 513), oracle(alpha)
    assert found.loss[1] == pytest.approx(np.log(4))
    assert found.accuracy[1] == pytest.approx(1 / 4)
    assert (np.diff(found.loss[1:]) < 0).all()
    assert (np.diff(found.accuracy[1:]) > -1e-12).all()
    assert 0 < found.loss[-1] - known["loss"] < 3 / 2 / 512 * 1.2  # three free numbers cost 1/2n each
    assert 0 < known["accuracy"] - found.accuracy[-1] < 0.02


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0, 4.0, 100.0])
def test_the_oracle_agrees_with_a_sample_of_laws(alpha):
    p = rng().dirichlet([alpha] * 4, 200_000)
    entropy = -(np.where(p > 0, p, 1) * np.log(np.where(p > 0, p, 1))).sum(1)
    assert oracle(alpha) == {"loss": pytest.approx(entropy.mean(), abs=0.003), "accuracy": pytest.approx(p.max(1).mean(), abs=0.002)}


def test_the_oracle_of_uniform_laws_is_known_in_fractions():
    assert oracle(1.0) == {"loss": pytest.approx(13 / 12), "accuracy": pytest.approx(25 / 48)}
