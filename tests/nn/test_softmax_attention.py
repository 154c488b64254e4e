"""Softmax attention: the matrix that is looked at is the one the fused kernel applies, and a cache changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn.softmax_attention import KVCache, attend, extend, weights

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=30)


def draw(B, H, T, seed=0, width=8):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, H, T, width, generator=generator) for _ in range(3)]


@EXAMPLES
@given(B=st.integers(1, 3), H=st.integers(1, 3), T=st.integers(1, 80), seed=st.integers(0, 99))
def test_the_matrix_is_the_one_the_kernel_applies(B, H, T, seed):
    q, k, v = draw(B, H, T, seed)
    matrix = weights(q, k)
    torch.testing.assert_close(matrix @ v, attend(q, k, v), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(matrix.sum(-1), torch.ones(B, H, T))
    assert matrix.triu(1).count_nonzero() == 0


@EXAMPLES
@given(B=st.integers(1, 2), T=st.integers(1, 60), seed=st.integers(0, 99), spare=st.integers(0, 5), data=st.data())
def test_a_cache_filled_in_any_cuts_gives_the_whole(B, T, seed, spare, data):
    q, k, v = draw(B, 2, T, seed)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=4)) | {T})
    cache, outputs = KVCache(B, 2, T + spare, 8, q), []
    for start, end in zip([0, *cuts], cuts, strict=False):
        outputs.append(extend(q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], cache))
    torch.testing.assert_close(torch.cat(outputs, 2), attend(q, k, v), atol=1e-5, rtol=1e-5)
    assert cache.count == T


def test_a_cache_takes_no_more_than_it_was_made_for():
    q, k, v = draw(1, 2, 5)
    with pytest.raises(AssertionError, match="made for 4 tokens"):
        extend(q, k, v, KVCache(1, 2, 4, 8, q))


def test_the_cache_is_memory_reserved_once():
    q, k, v = draw(1, 2, 6)
    cache = KVCache(1, 2, 6, 8, q)
    before = cache.keys.data_ptr()
    for t in range(6):
        keys, _ = cache.append(k[:, :, t : t + 1], v[:, :, t : t + 1])
        assert keys.data_ptr() == before
    assert torch.equal(keys, k)


def test_dropout_leaves_out_weights_in_training_only():
    q, k, v = draw(1, 1, 30)
    torch.manual_seed(0)
    assert torch.equal(attend(q, k, v), attend(q, k, v, 0.0))
    assert not torch.allclose(attend(q, k, v, 0.5), attend(q, k, v))
