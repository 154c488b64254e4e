"""Each variant of linear attention is what its paper says, however it is computed, and its matrix is the one it applies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn import features, linear_variants
from picollm.nn.linear_variants import VARIANTS, LinearKernel
from picollm.nn.positions import alibi_slopes
from picollm.nn.taps import Recorder, untapped

D, H, K, V = 12, 2, 6, 5
EXAMPLES = settings(max_examples=15)
kinds = st.sampled_from(sorted(VARIANTS))


def kernel(kind, seed=0, alibi=False, output_norm=False, form="auto", chunk=16):
    torch.manual_seed(seed)
    made = LinearKernel(kind, D, H, K, V, alibi, output_norm, form, chunk)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made.double()


def draw(B, T, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, *shape, generator=generator, dtype=torch.float64) for shape in ((H, T, K), (H, T, K), (H, T, V), (T, D))]


def rms(x, weight):
    return x / np.sqrt((x**2).mean() + 1e-5) * weight


def by_the_paper(kind, module, q, k, v, x):
    """Token by token, from the formulas of the papers, sharing nothing with the code but the parameters."""
    parameters = {name: value.detach().numpy() for name, value in module.named_parameters()}
    q, k, v, x = (y.numpy() for y in (q, k, v, x))
    out = np.empty_like(v)
    for b, h in np.ndindex(q.shape[0], H):
        if kind == "taylor":
            weigh = lambda query, key: 1 + query @ key / K**0.5 + (query @ key / K**0.5) ** 2 / 2  # noqa: E731
        elif kind.startswith("linear"):
            weigh = lambda query, key: positive(query) @ positive(key)  # noqa: E731
        else:
            weigh = lambda query, key: query @ key  # noqa: E731
        if "delta" in kind:
            state = np.zeros((K, V))
            for t in range(q.shape[2]):
                query, key = (y / (1 + np.exp(-y)) for y in (q[b, h, t], k[b, h, t]))
                query, key = query / np.linalg.norm(query), key / np.linalg.norm(key)
                beta = 1 / (1 + np.exp(-(parameters["beta.weight"][h] @ x[b, t]))) * (2 if kind == "delta_negative" else 1)
                if kind == "gated_delta":
                    state = state * np.exp(decay(parameters, h, x[b, t]))
                state = state - beta * np.outer(key, key @ state) + beta * np.outer(key, v[b, h, t])
                out[b, h, t] = rms(state.T @ query, parameters["norm.weight"])
            continue
        for t in range(q.shape[2]):
            total, value = 0.0, np.zeros(V)
            for s in range(t + 1):
                weight = weigh(q[b, h, t], k[b, h, s])
                if kind == "retention":
                    weight *= (1 - 2.0 ** (-5 - h)) ** (t - s)
                if kind == "gated":
                    weight *= np.exp(sum(decay(parameters, h, x[b, u]) for u in range(s + 1, t + 1)))
                total, value = total + weight, value + weight * v[b, h, s]
            out[b, h, t] = value / total if kind in ("linear", "taylor") else rms(value, parameters["norm.weight"])
    return torch.from_numpy(out)


def positive(y):
    return np.where(y > 0, y + 1, np.exp(y))


def decay(parameters, h, x):
    """Mamba-2: -exp(A) softplus(x W + b)."""
    return -np.exp(parameters["gate_scale"][h]) * np.log1p(np.exp(parameters["gate.weight"][h] @ x + parameters["gate_bias"][h]))


def run(module, inputs, memory=None):
    with torch.no_grad():
        return module(*inputs, untapped, "", memory, 0)


@EXAMPLES
@given(kind=kinds, B=st.integers(1, 2), T=st.integers(1, 40), seed=st.integers(0, 99), form=st.sampled_from(["parallel", "chunked"]), chunk=st.integers(1, 50))
def test_each_form_of_each_variant_is_that_of_its_paper(kind, B, T, seed, form, chunk):
    inputs = draw(B, T, seed)
    expected = by_the_paper(kind, kernel(kind, seed), *inputs)
    torch.testing.assert_close(run(kernel(kind, seed, form=form, chunk=chunk), inputs), expected, atol=1e-5, rtol=1e-5)


@EXAMPLES
@given(kind=kinds, alibi=st.booleans(), T=st.integers(1, 50), seed=st.integers(0, 99), data=st.data())
def test_the_memory_takes_over_at_any_token(kind, alibi, T, seed, data):
    q, k, v, x = draw(2, T, seed)
    module = kernel(kind, seed, alibi)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=5)) | {T})
    memory, outputs = module.empty(2, T, q), []
    for start, end in zip([0, *cuts], cuts, strict=False):
        outputs.append(run(module, [*(y[:, :, start:end] for y in (q, k, v)), x[:, start:end]], memory))
    torch.testing.assert_close(torch.cat(outputs, 2), run(module, (q, k, v, x)), atol=1e-9, rtol=1e-6)


@EXAMPLES
@given(kind=kinds, alibi=st.booleans(), T=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_matrix_that_is_looked_at_is_the_one_applied(kind, alibi, T, seed):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        q, k, v, x = (y.to(dtype) for y in draw(1, T, seed))
        module, recorder = kernel(kind, seed, alibi).to(dtype), Recorder()
        recorder("q", q), recorder("k", k)
        with torch.no_grad():
            applied = module(q, k, v, x, recorder, "", None, 0)
            matrix = module.weights(recorder, "")
            assert matrix.triu(1).count_nonzero() == 0
            if module.variant.normalised:
                assert float(matrix.min()) >= 0
                torch.testing.assert_close(matrix.sum(-1), torch.ones(1, H, T, dtype=dtype), atol=1e-3, rtol=0)  # up to what keeps a row sum from 0
            torch.testing.assert_close(module.applied(matrix, v), applied, atol=tolerance, rtol=tolerance)


def test_alibi_is_a_decay_by_the_distance():
    q, k, v, x = draw(1, 9)
    module, plain = kernel("linear", alibi=True), kernel("linear")
    recorder = Recorder()
    recorder("q", q), recorder("k", k)
    run(module, (q, k, v, x))
    with torch.no_grad():
        module(q, k, v, x, recorder, "", None, 0)
        with_cost, without = module.weights(recorder, ""), None
        recorder.values.pop("g")
        without = plain.weights(recorder, "")
    back = torch.arange(9)[:, None] - torch.arange(9)
    expected = without * (-alibi_slopes(H)[:, None, None] * back).exp()
    torch.testing.assert_close(with_cost, expected / expected.sum(-1, keepdim=True), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(VARIANTS))
def test_the_memory_does_not_grow(kind):
    module, sizes = kernel(kind), set()
    memory = module.empty(1, 10, draw(1, 1)[0])
    for T in (1, 5, 1, 30):
        run(module, draw(1, T), memory)
        sizes.add(memory.matrix.shape)
    assert len(sizes) == 1


def test_features_that_all_underflow_give_no_nan():
    q, k, v, x = draw(1, 70)
    for form in ("parallel", "chunked"):
        assert run(kernel("linear", form=form), (q - 800, k - 800, v, x)).isfinite().all()


def test_auto_takes_the_form_by_the_shapes_alone(monkeypatch):
    taken = []
    for form in ("parallel", "chunked"):
        original = getattr(linear_variants.linear_attention, form)
        monkeypatch.setattr(linear_variants.linear_attention, form, lambda *a, form=form, original=original: taken.append(form) or original(*a))
    for kind in VARIANTS:
        limit = kernel(kind).parallel_up_to
        for T in (1, limit, limit + 1):
            run(kernel(kind), draw(1, T))
        assert taken == ["parallel", "parallel", "chunked"], kind
        taken.clear()


def test_taylor_features_are_the_series_of_the_exponential():
    x, y = torch.randn(2, 7, 4, dtype=torch.float64)
    score = (x * y).sum(-1) / 2
    torch.testing.assert_close((features.taylor(x) * features.taylor(y)).sum(-1), 1 + score + score**2 / 2)
    assert features.taylor(x).shape[-1] == features.taylor_width(4) == 15


def test_taylor_features_made_in_inference_mode_still_serve_training():
    features._pairs.cache_clear()
    with torch.inference_mode():
        features.taylor(torch.randn(2, 3))
    x = torch.randn(2, 3, requires_grad=True)
    features.taylor(x).sum().backward()
    assert x.grad is not None


def test_the_heads_of_a_fresh_gate_forget_over_1_to_1000_tokens():
    module = LinearKernel("gated", D, 4, K, V, False, False, "auto", 16)
    with torch.no_grad():
        g, _ = module._gates(torch.zeros(1, 1, D), untapped, "")
    assert [round(float(rate), 4) for rate in -g.flatten()] == [0.001, 0.01, 0.1, 1.0]


def test_retention_keeps_what_its_paper_says():
    module = LinearKernel("retention", D, 3, K, V, False, False, "auto", 16)
    assert [math.exp(float(g)) for g in module.fixed.flatten()] == pytest.approx([1 - 1 / 32, 1 - 1 / 64, 1 - 1 / 128])
