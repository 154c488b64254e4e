"""The three forms of linear attention compute one thing: the recurrence of the papers, with and without decay and correction."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from picollm.nn.linear_attention import chunked, parallel, step, weights

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
EXAMPLES = settings(max_examples=30)
RULES = ("sum", "decay", "fixed decay", "delta", "delta to 2", "gated delta")
sizes = {"B": st.integers(1, 3), "H": st.integers(1, 3), "T": st.integers(1, 150), "seed": st.integers(0, 99)}
rules = st.sampled_from(RULES)


def draw(rule, B, H, T, seed=0, K=8, V=5):
    """q, k, v, g, beta as the rule has them; unit keys where it corrects."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(B, H, T, width, generator=generator) / width**0.5 for width in (K, K, V))
    g = beta = None
    if rule in ("decay", "gated delta"):
        g = -torch.rand(B, H, T, generator=generator)
        g[:, :, ::17] = -20  # all but forgotten
    if rule == "fixed decay":
        g = torch.linspace(-0.3, -0.01, H)[None, :, None].expand(1, H, T)
    if "delta" in rule:
        k = torch.nn.functional.normalize(k, dim=-1)
        beta = torch.rand(B, H, T, generator=generator) * (2 if rule == "delta to 2" else 1)
    return q, k, v, g, beta


def recurrence(q, k, v, g, beta):
    """S_t = (I - beta k k^T) exp(g) S_(t-1) + beta k v^T in float64, one token of one head of one sequence at a time."""
    q, k, v = (x.double().numpy() for x in (q, k, v))
    B, H, T, K = q.shape
    g = np.zeros((B, H, T)) if g is None else np.broadcast_to(g.double().numpy(), (B, H, T))
    out = np.empty_like(v)
    for b, h in np.ndindex(B, H):
        memory = np.zeros((K, v.shape[3]))
        for t in range(T):
            memory = np.exp(g[b, h, t]) * memory
            if beta is None:
                memory = memory + np.outer(k[b, h, t], v[b, h, t])
            else:
                strength = float(beta[b, h, t])
                memory = (np.eye(K) - strength * np.outer(k[b, h, t], k[b, h, t])) @ memory + strength * np.outer(k[b, h, t], v[b, h, t])
            out[b, h, t] = memory.T @ q[b, h, t]
    return torch.from_numpy(out).float()


def cut(inputs, start, end):
    return [None if x is None else x[:, :, start:end] for x in inputs]


def recurrent(q, k, v, g, beta, state=None):
    state = torch.zeros(*q.shape[:2], q.shape[3], v.shape[3]) if state is None else state
    outputs = []
    for t in range(q.shape[2]):
        *qkv, now, strength = cut((q, k, v, g, beta), t, t + 1)
        out, state = step(*qkv, state, now, strength)
        outputs.append(out)
    return torch.cat(outputs, 2), state


@EXAMPLES
@given(rule=rules, **sizes, chunk=st.integers(1, 80))
def test_every_form_is_the_recurrence_of_the_paper(rule, B, H, T, seed, chunk):
    inputs = draw(rule, B, H, T, seed)
    expected = recurrence(*inputs)
    stepwise, last = recurrent(*inputs)
    by_chunks, after = chunked(*inputs, chunk)
    q, k, v, g, beta = inputs
    for out in (parallel(*inputs), by_chunks, stepwise, weights(q, k, g, beta) @ v):
        torch.testing.assert_close(out, expected, **TOLERANCE)
    torch.testing.assert_close(after, last, **TOLERANCE)


@EXAMPLES
@given(rule=rules, **sizes, chunk=st.sampled_from([1, 7, 16, 64]), data=st.data())
def test_a_state_may_be_handed_over_anywhere(rule, B, H, T, seed, chunk, data):
    inputs = draw(rule, B, H, T, seed)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=4)) | {T})
    state, outputs = None, []
    for start, end in zip([0, *cuts], cuts, strict=False):
        part = cut(inputs, start, end)
        out, state = recurrent(*part, state) if end - start == 1 else chunked(*part, chunk, state)
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, 2), parallel(*inputs), **TOLERANCE)


@EXAMPLES
@given(rule=rules, B=st.integers(1, 2), H=st.integers(1, 2), T=st.integers(1, 40), seed=st.integers(0, 99), chunk=st.integers(1, 50))
def test_gradients_agree(rule, B, H, T, seed, chunk):
    gradients = []
    for form in (parallel, lambda *inputs: chunked(*inputs, chunk)[0], lambda *inputs: recurrent(*inputs)[0]):
        inputs = draw(rule, B, H, T, seed)
        leaves = [x.requires_grad_() for x in inputs if x is not None and x.is_leaf and not x._is_view()]
        gradients.append(torch.autograd.grad(form(*inputs).square().sum(), leaves))
    for others in gradients[1:]:
        for expected, gradient in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(gradient, expected, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_gradient_is_the_derivative(rule):
    inputs = [None if x is None else x.double().contiguous().requires_grad_() for x in draw(rule, 1, 2, 7, K=3, V=2)]
    given_ = [x for x in inputs if x is not None]

    def call(form, *values):
        values = iter(values)
        return form(*(None if x is None else next(values) for x in inputs))

    assert torch.autograd.gradcheck(lambda *x: call(parallel, *x), given_)
    assert torch.autograd.gradcheck(lambda *x: call(lambda *y: chunked(*y, 3)[0], *x), given_)


def test_a_correction_of_strength_2_turns_the_sign_and_of_strength_1_forgets():
    """The eigenvalue 1 - beta along the key: what lets a state count modulo 2."""
    k = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(1, 1, 3, 2)
    v, before = torch.zeros(1, 1, 3, 1), torch.ones(1, 1, 2, 1)
    for beta, expected in ((2.0, [-1.0, 1.0, -1.0]), (1.0, [0.0, 0.0, 0.0])):
        out, after = chunked(k, k, v, beta=torch.full((1, 1, 3), beta), before=before)
        torch.testing.assert_close(out.flatten(), torch.tensor(expected))
        assert float(after[0, 0, 1, 0]) == 1  # what other keys say is left alone


@pytest.mark.parametrize("chunk", [0, -3])
def test_a_chunk_without_tokens_is_refused(chunk):
    with pytest.raises(ValueError, match=rf"^chunk: {chunk} tokens; give at least 1$"):
        chunked(*draw("sum", 1, 1, 5), chunk)


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest result of any operation, in the backward pass too."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(x.untyped_storage().nbytes() // 4 for x in tree_leaves(result) if isinstance(x, torch.Tensor))])
        return result


def largest(rule, T, chunk=64, width=32):
    inputs = [None if x is None else x.clone().requires_grad_() for x in draw(rule, 1, 2, T, K=width, V=width)]
    with LargestTensor() as recorder:
        chunked(*inputs, chunk)[0].sum().backward()
    return recorder.numel


@pytest.mark.parametrize("rule", RULES)
def test_memory_grows_with_the_length_and_holds_no_state_a_token(rule):
    B, H, T, K, C = 1, 2, 2048, 32, 64
    assert largest(rule, T) <= B * H * T * C  # the scores inside the chunks; a state a token would be B H T K K
    assert largest(rule, T) < B * H * T * K * K / 10
    assert largest(rule, 2 * T) == 2 * largest(rule, T)


def reference(name):
    """The readable reference code of flash-linear-attention, without importing the package, whose kernels need a GPU's compiler."""
    package = importlib.util.find_spec("fla")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "ops" / name / "naive.py"
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(f"fla_{name}", path))
    spec.loader.exec_module(module)
    return module


def transposed(*inputs):
    """(B, H, T, ...) <-> (B, T, H, ...)."""
    return [x.transpose(1, 2) for x in inputs]


def theirs(rule, q, k, v, g, beta):
    """Output and, where they give it, the last state; without their scale of the queries."""
    if rule == "sum":
        out, state = reference("linear_attn").naive_recurrent_linear_attn(*transposed(q, k, v), scale=1.0, output_final_state=True)
        return out.transpose(1, 2), state
    if rule == "decay":
        out, state = reference("simple_gla").naive_recurrent_simple_gla(*transposed(q, k, v, g), scale=1.0)
        return out.transpose(1, 2), state
    if rule == "gated delta":
        out, state = reference("gated_delta_rule").naive_recurrent_gated_delta_rule(*transposed(q, k, v, beta, g), scale=1.0, output_final_state=True)
        return out.transpose(1, 2), state
    return reference("delta_rule").delta_rule_recurrence(q * q.shape[-1] ** 0.5, k, v, beta)


@pytest.mark.parametrize("T", [1, 50, 128])
@pytest.mark.parametrize("rule", ["sum", "decay", "delta", "delta to 2", "gated delta"])
def test_every_form_agrees_with_flash_linear_attention(rule, T):
    inputs = draw(rule, 2, 3, T, K=16, V=16)
    expected, last = theirs(rule, *inputs)
    out, after = chunked(*inputs, 48)
    for ours in (out, parallel(*inputs), recurrent(*inputs)[0]):
        torch.testing.assert_close(ours, expected, **TOLERANCE)
    torch.testing.assert_close(after, last, **TOLERANCE)
