"""Softmax attention: the matrix that is looked at is the one the fused kernel applies, and a cache changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn.positions import alibi_slopes
from picollm.nn.softmax_attention import KVCache, SoftmaxKernel, WindowCache
from picollm.nn.taps import Recorder, untapped

EXAMPLES = settings(max_examples=30)
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


H = 4
shapes = {"n_kv_head": st.sampled_from([1, 2, 4]), "window": st.sampled_from([None, 1, 3, 8]), "sinks": st.booleans(), "alibi": st.booleans()}


def special(alibi=False, **settings):
    torch.manual_seed(0)
    made = SoftmaxKernel(H, 8, alibi, "constant", False, 0.0, **settings).eval()
    if made.sinks is not None:
        made.sinks.data.normal_()
    return made


def draw_groups(T, n_kv_head, seed):
    q, k, v = draw(2, H, T, seed)
    return q, k[:, :n_kv_head], v[:, :n_kv_head]


@EXAMPLES
@given(T=st.integers(1, 24), seed=st.integers(0, 99), **shapes)
def test_groups_windows_and_sinks_are_their_formulas(T, seed, n_kv_head, window, sinks, alibi):
    q, k, v = draw_groups(T, n_kv_head, seed)
    module = special(alibi, n_kv_head=n_kv_head, window=window, sinks=sinks)
    out = attend(module, q, k, v)
    for head in range(H):
        group = head // (H // n_kv_head)
        for t in range(T):
            seen = range(max(0, t - window + 1) if window else 0, t + 1)
            costs = torch.tensor([float(alibi) * float(alibi_slopes(H)[head]) * (t - s) for s in seen])
            weight = (q[:, head, t : t + 1] @ k[:, group, seen].mT / 8**0.5 - costs).exp()[:, 0]
            total = weight.sum(-1, keepdim=True) + (module.sinks[head].exp().detach() if sinks else 0)
            torch.testing.assert_close(out[:, head, t], ((weight / total)[:, None] @ v[:, group, seen])[:, 0], atol=1e-5, rtol=1e-5)


@EXAMPLES
@given(T=st.integers(1, 24), seed=st.integers(0, 99), **shapes)
def test_the_matrix_to_look_at_is_the_one_applied_with_them_too(T, seed, n_kv_head, window, sinks, alibi):
    q, k, v = draw_groups(T, n_kv_head, seed)
    module = special(alibi, n_kv_head=n_kv_head, window=window, sinks=sinks)
    matrix = weights(module, q, k)
    torch.testing.assert_close(matrix @ v.repeat_interleave(H // n_kv_head, 1), attend(module, q, k, v), atol=1e-5, rtol=1e-5)
    assert (matrix.sum(-1) < 1).all() if sinks else torch.allclose(matrix.sum(-1), torch.ones(2, H, T))


@EXAMPLES
@given(T=st.integers(1, 40), seed=st.integers(0, 99), spare=st.integers(0, 5), data=st.data(), **shapes)
def test_their_caches_filled_in_any_cuts_give_the_whole(T, seed, spare, data, n_kv_head, window, sinks, alibi):
    q, k, v = draw_groups(T, n_kv_head, seed)
    module = special(alibi, n_kv_head=n_kv_head, window=window, sinks=sinks)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=6)) | {T})
    cache, outputs = module.empty(2, T + spare, q), []
    for start, end in zip([0, *cuts], cuts, strict=False):
        outputs.append(attend(module, q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], cache))
    torch.testing.assert_close(torch.cat(outputs, 2), attend(module, q, k, v), atol=1e-5, rtol=1e-5)
    assert cache.count == T


def test_a_window_keeps_no_more_than_it_sees_and_a_group_its_heads_once():
    module = special(n_kv_head=2, window=5)
    q, k, v = draw_groups(30, 2, 0)
    cache = module.empty(2, 30, q)
    assert isinstance(cache, WindowCache)
    for start, end in ((0, 12), (12, 13), (13, 30)):
        attend(module, q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], cache)
        assert cache.keys.shape == cache.values.shape == (2, 2, 4, 8)
    assert isinstance(module.empty(2, 5, q), KVCache)  # as long as the window: nothing is ever dropped


def test_a_sink_learns():
    module = special(sinks=True)
    module(*draw(1, H, 5), None, untapped, "", None, 0).square().sum().backward()
    assert (module.sinks.grad.abs() > 0).all()
