"""Softmax attention: the matrix that is looked at is the one the fused kernel applies, and a cache changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn.positions import alibi_slopes
from picollm.nn.softmax_attention import KVCache, SoftmaxKernel
from picollm.nn.taps import Recorder, untapped

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=30)
options = {"alibi": st.booleans(), "scale": st.sampled_from(["constant", "log"])}


def draw(B, H, T, seed=0, width=8):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, H, T, width, generator=generator) for _ in range(3)]


def kernel(H, alibi=False, scale="constant", output_norm=False, dropout=0.0):
    torch.manual_seed(0)
    made = SoftmaxKernel(H, 8, alibi, scale, output_norm, dropout).eval()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def attend(module, q, k, v, cache=None):
    with torch.no_grad():
        return module(q, k, v, None, untapped, "", cache, cache.count if cache else 0)


def weights(module, q, k):
    recorder = Recorder()
    recorder("q", q), recorder("k", k)
    with torch.no_grad():
        return module.weights(recorder, "")


@EXAMPLES
@given(B=st.integers(1, 3), H=st.integers(1, 3), T=st.integers(1, 80), seed=st.integers(0, 99), **options)
def test_the_matrix_is_the_one_the_kernel_applies(B, H, T, seed, alibi, scale):
    q, k, v = draw(B, H, T, seed)
    module = kernel(H, alibi, scale)
    matrix = weights(module, q, k)
    torch.testing.assert_close(matrix @ v, attend(module, q, k, v), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(matrix.sum(-1), torch.ones(B, H, T))
    assert matrix.triu(1).count_nonzero() == 0


@EXAMPLES
@given(B=st.integers(1, 2), T=st.integers(1, 60), seed=st.integers(0, 99), spare=st.integers(0, 5), norm=st.booleans(), data=st.data(), **options)
def test_a_cache_filled_in_any_cuts_gives_the_whole(B, T, seed, spare, norm, data, alibi, scale):
    q, k, v = draw(B, 2, T, seed)
    module = kernel(2, alibi, scale, norm)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=4)) | {T})
    cache, outputs = module.empty(B, T + spare, q), []
    for start, end in zip([0, *cuts], cuts, strict=False):
        outputs.append(attend(module, q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], cache))
    torch.testing.assert_close(torch.cat(outputs, 2), attend(module, q, k, v), atol=1e-5, rtol=1e-5)
    assert cache.count == T


def test_a_cache_takes_no_more_than_it_was_made_for():
    q, k, v = draw(1, 2, 5)
    with pytest.raises(AssertionError, match="made for 4 tokens"):
        attend(kernel(2), q, k, v, KVCache(1, 2, 4, 8, q))


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
    module = kernel(1, dropout=0.5)
    assert torch.equal(attend(module, q, k, v), attend(kernel(1), q, k, v))
    assert not torch.allclose(attend(module.train(), q, k, v), attend(kernel(1), q, k, v))


def test_alibi_costs_a_constant_per_step_of_distance():
    q, k, _ = draw(1, 4, 7)
    ratio = weights(kernel(4, alibi=True), q, k).log() - weights(kernel(4), q, k).log()
    for head, slope in enumerate((0.25, 0.0625, 1 / 64, 1 / 256)):
        row = ratio[0, head, 6]
        torch.testing.assert_close(row[1:] - row[:-1], torch.full((6,), slope), atol=1e-4, rtol=1e-4)
        assert float(alibi_slopes(4)[head]) == slope


def test_the_log_scale_multiplies_logits_by_the_logarithm_of_the_count():
    q, k, _ = draw(1, 1, 9)
    scaled, plain = weights(module := kernel(1, scale="log"), q, k), weights(kernel(1), q, k)
    logits = plain[0, 0, 8].log() * float(module.sharpness.detach()) * torch.tensor(9.0).log()
    torch.testing.assert_close(scaled[0, 0, 8], logits.softmax(-1), atol=1e-5, rtol=1e-4)


def test_an_output_norm_keeps_the_size_of_a_mean_over_many_tokens():
    q, k, v = draw(1, 1, 400)
    for norm, falls in ((False, True), (True, False)):
        z = attend(kernel(1, output_norm=norm), 0.01 * q, 0.01 * k, v)[0, 0]
        assert (float(z[-20:].std()) < 0.2 * float(z[:2].std())) == falls
