"""The statistics of few seeds against what is known of them, and against simulation: intervals cover, tests err as rarely as they say."""

import numpy as np
import pytest
from scipy import stats

from picollm.report import _tests
from picollm.report.ledger import halves

LEFT, RIGHT = [1.0, 1.3, 1.1, 1.6], [0.8, 1.0, 1.05, 1.2]


def keyed(values):
    return {str(seed): float(value) for seed, value in enumerate(values)}


def test_paired_is_students_t_of_the_differences():
    found = _tests.by_seed(keyed(LEFT), {**keyed(RIGHT), "9": 5.0})  # a seed of one side alone does not count
    expected = stats.ttest_rel(LEFT, RIGHT)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert 2 * found.above(0) == pytest.approx(expected.pvalue)
    assert found.above(0) + found.below(0) == pytest.approx(1)
    assert found.n == 4


def test_unpaired_is_welchs():
    found = _tests.apart(LEFT, RIGHT[:3])
    expected = stats.ttest_ind(LEFT, RIGHT[:3], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert 2 * found.above(0) == pytest.approx(expected.pvalue)
    assert found.n == 3


def test_one_sample_against_a_number():
    found = _tests.from_number(LEFT, 1.0)
    expected = stats.ttest_1samp(LEFT, 1.0)
    assert 2 * min(found.above(0), found.below(0)) == pytest.approx(expected.pvalue)
    assert found.value == pytest.approx(0.25)


def test_hedges_g_is_cohens_d_with_the_correction_of_few():
    pooled = np.sqrt((np.var(LEFT, ddof=1) + np.var(RIGHT, ddof=1)) / 2)
    d = (np.mean(LEFT) - np.mean(RIGHT)) / pooled
    assert _tests.by_seed(keyed(LEFT), keyed(RIGHT)).effect == pytest.approx(d * (1 - 3 / (4 * 6 - 1)), rel=2e-3)  # the usual approximation of it
    assert _tests.apart(LEFT, RIGHT).effect == pytest.approx(_tests.by_seed(keyed(LEFT), keyed(RIGHT)).effect)


def test_shares_are_fishers_and_the_exact_binomials():
    found = _tests.shares((5, 5), (1, 6))
    assert found.above(0) == pytest.approx(stats.fisher_exact([[5, 0], [1, 5]], alternative="greater").pvalue)
    assert found.below(0) == pytest.approx(stats.fisher_exact([[5, 0], [1, 5]], alternative="less").pvalue)
    alone = _tests.share((5, 6), 0.5)
    assert alone.above(0) == pytest.approx(stats.binomtest(5, 6, 0.5, alternative="greater").pvalue)
    assert alone.below(0) == pytest.approx(stats.binomtest(5, 6, 0.5, alternative="less").pvalue)
    interval = stats.binomtest(5, 6).proportion_ci(0.95)
    assert (alone.low, alone.high) == pytest.approx((interval.low - 0.5, interval.high - 0.5))


def test_five_of_five_is_no_proof_of_more_than_half():
    assert _tests.share((5, 5), 0.5).low == pytest.approx(0.4782 - 0.5, abs=1e-4)


def test_one_seed_says_nothing():
    assert _tests.by_seed({"0": 1.0}, {"0": 2.0}) is None
    assert _tests.apart([1.0], [2.0, 3.0]) is None
    assert _tests.from_number([1.0], 0.0) is None


def test_seeds_that_agree_to_the_last_digit_are_no_proof():
    same = _tests.by_seed(keyed([1.0] * 3), keyed([0.5] * 3))
    assert (same.low, same.high, same.effect) == (None, None, None)
    assert same.above(0) == 1 / 8  # three signs that might have fallen either way
    assert same.below(0) == 1
    assert same.above(0.5) == same.below(0.5) == 1  # at the boundary neither
    assert _tests.apart([1.0] * 3, [0.5] * 3).above(0) == 1 / 20  # one of the 20 ways in which six ranks can fall


def test_holm_as_in_his_paper():
    assert _tests.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert _tests.holm([]) == []
    assert _tests.holm([0.5, 0.9]) == [1.0, 1.0]


def test_equivalence_needs_both_sides():
    found = _tests.from_number([0.1, 0.12, 0.11, 0.09, 0.1], 0.0)
    holds, fails = halves(found, "alike", 0.2)
    assert holds < 0.001 < 0.999 < fails
    assert halves(found, "alike", 0.05)[1] < 0.001  # shown to be farther apart than the margin
    wide = _tests.from_number([-0.5, 0.4, 0.1, -0.1], 0.0)
    assert min(halves(wide, "alike", 0.2)) > 0.05


def test_each_expectation_is_the_contrary_of_its_contrary():
    found = _tests.by_seed(keyed(LEFT), keyed(RIGHT))
    for expect in ("lower", "higher", "at_least", "at_most"):
        assert sum(halves(found, expect, 0.1)) == pytest.approx(1)
    assert halves(found, "higher", 0.1)[0] > halves(found, "higher", 0)[0] > halves(found, "at_least", 0.1)[0]  # harder, as it is, forgiving


@pytest.mark.parametrize("n", [2, 3, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(n):
    draw = np.random.Generator(np.random.PCG64(n))
    hits = np.zeros(3)
    trials = 3000
    for _ in range(trials):
        shared, a, b = draw.normal(size=n), draw.normal(0.3, 0.5, n), draw.normal(0, 1, n)
        for kind, found in enumerate((_tests.by_seed(keyed(a + shared), keyed(b + shared)), _tests.apart(list(a), list(b)), _tests.from_number(list(a), 0.0))):
            hits[kind] += found.low <= 0.3 <= found.high
    rate = hits / trials
    assert (rate > 0.95 - 0.013).all()  # three standard errors
    assert rate[[0, 2]] == pytest.approx(0.95, abs=0.013)  # Welch's is wider than it need be for so few
