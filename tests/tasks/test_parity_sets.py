"""Parity: the targets are what they should be, and the controls what a sample says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.tasks import parity
from picollm.tasks._rows import load
from picollm.tasks.parity.sets import WINDOWS, controls, draw

CONFIG = parity.Config(kind="parity", train=50, validation=5, test=5, long=5, train_lengths=[2, 9], long_lengths=[30])


@given(seed=st.integers(0, 2**32), n=st.integers(1, 20), length=st.integers(1, 60))
def test_a_target_says_whether_the_ones_so_far_are_odd(seed, n, length):
    bits, targets = draw(np.random.Generator(np.random.PCG64(seed)), n, length)
    assert set(np.unique(bits)) <= {0, 1}
    for row, parities in zip(bits, targets, strict=True):
        assert parities.tolist() == [sum(row[: t + 1].tolist()) % 2 for t in range(length)]


def test_bits_are_fair():
    bits, targets = draw(np.random.Generator(np.random.PCG64(0)), 5000, 20)
    assert bits.mean(0) == pytest.approx([0.5] * 20, abs=0.03)
    assert targets.mean(0) == pytest.approx([0.5] * 20, abs=0.03)


def test_stored_targets_are_padded_where_the_bits_are(tmp_path):
    parity.generate(CONFIG, tmp_path)
    for split in ("train", "length30"):
        bits, targets, lengths = (load(tmp_path, split, name) for name in ("values", "targets", "length"))
        inside = np.arange(bits.shape[1]) < lengths[:, None]
        assert ((bits >= 0) == inside).all()
        assert ((targets >= 0) == inside).all()
        for row, parities, length in zip(bits, targets, lengths, strict=True):
            assert parities[:length].tolist() == (np.cumsum(row[:length]) % 2).tolist()


@pytest.mark.parametrize(("low", "high"), [(2, 40), (3, 3), (1, 5)])
def test_the_best_guess_from_the_last_bits_is_blind_once_there_were_more(low, high):
    """Against counting, in a sample, how often each parity follows the last k bits at each position."""
    bits, targets = draw(np.random.Generator(np.random.PCG64(1)), 40_000, high)
    weights = np.array([np.mean([length > t for length in range(low, high + 1)]) for t in range(high)])
    result = controls(low, high)
    assert result["uniform"] == {"loss": pytest.approx(np.log(2)), "accuracy": 0.5}
    assert len(result) == 1 + sum(k < high for k in WINDOWS)
    for k in (k for k in WINDOWS[:2] if k < high):
        loss, hits = np.zeros((2, high))
        for t in range(high):
            seen = bits[:, max(0, t + 1 - k) : t + 1] @ (2 ** np.arange(min(k, t + 1)))
            p = np.bincount(seen, targets[:, t], 2**k) / np.maximum(np.bincount(seen, minlength=2**k), 1)
            share = np.bincount(seen, minlength=2**k) / len(bits)
            inner = (p > 0) & (p < 1)
            loss[t] = -(share[inner] * (p[inner] * np.log(p[inner]) + (1 - p[inner]) * np.log(1 - p[inner]))).sum()
            hits[t] = (share * np.maximum(p, 1 - p)).sum()
        found = result[f"last {k} bit{'s' * (k > 1)}"]
        assert found["loss"] == pytest.approx(loss @ weights / weights.sum(), abs=0.003)
        assert found["accuracy"] == pytest.approx(hits @ weights / weights.sum(), abs=0.01)
