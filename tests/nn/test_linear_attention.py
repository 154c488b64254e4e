"""The three forms of linear attention compute one thing: the recurrence of the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from picollm.nn import linear_attention
from picollm.nn.linear_attention import LinearState, attend, chunked, extend, parallel, recurrent_step, weights

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
EXAMPLES = settings(deadline=None, derandomize=True, max_examples=30)
sizes = {"B": st.integers(1, 3), "H": st.integers(1, 3), "T": st.integers(1, 150), "seed": st.integers(0, 99)}


def draw(B, H, T, seed=0, width=8):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, H, T, width, generator=generator) for _ in range(3)]


def recurrence(q, k, v):
    """Equations 16-20 of arXiv 2006.16236 in float64, one token of one head of one sequence at a time."""
    q, k, v = (x.double().numpy() for x in (q, k, v))
    out = np.empty_like(v)
    for b, h in np.ndindex(*q.shape[:2]):
        memory, normaliser = np.zeros((q.shape[3], v.shape[3])), np.zeros(q.shape[3])
        for t in range(q.shape[2]):
            query, key = (np.where(x > 0, x + 1, np.exp(x)) for x in (q[b, h, t], k[b, h, t]))
            memory += np.outer(key, v[b, h, t])
            normaliser += key
            out[b, h, t] = query @ memory / (query @ normaliser)
    return torch.from_numpy(out)


def recurrent(q, k, v):
    state, outputs = torch.zeros(*q.shape[:2], q.shape[3], v.shape[3] + 1), []
    for t in range(q.shape[2]):
        out, state = recurrent_step(q[:, :, t : t + 1], k[:, :, t : t + 1], v[:, :, t : t + 1], state)
        outputs.append(out)
    return torch.cat(outputs, 2), state


@EXAMPLES
@given(**sizes, chunk=st.integers(1, 80))
def test_every_form_is_the_recurrence_of_the_paper(B, H, T, seed, chunk):
    q, k, v = draw(B, H, T, seed)
    expected = recurrence(q, k, v).float()
    stepwise, last = recurrent(q, k, v)
    by_chunks, after = chunked(q, k, v, chunk)
    for out in (parallel(q, k, v), by_chunks, stepwise, weights(q, k) @ v):
        torch.testing.assert_close(out, expected, **TOLERANCE)
    torch.testing.assert_close(after, last, atol=1e-4, rtol=1e-5)  # a sum over T tokens, not a mean


@EXAMPLES
@given(**sizes, chunk=st.sampled_from([1, 7, 16, 64]), data=st.data())
def test_a_state_may_be_handed_over_anywhere(B, H, T, seed, chunk, data):
    q, k, v = draw(B, H, T, seed)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=4)) | {T})
    state, outputs = LinearState(B, H, q.shape[-1], q), []
    for start, end in zip([0, *cuts], cuts, strict=False):
        outputs.append(extend(q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], state, chunk))
    torch.testing.assert_close(torch.cat(outputs, 2), parallel(q, k, v), **TOLERANCE)


@EXAMPLES
@given(B=st.integers(1, 2), H=st.integers(1, 2), T=st.integers(1, 40), seed=st.integers(0, 99), chunk=st.integers(1, 50))
def test_gradients_agree(B, H, T, seed, chunk):
    gradients = []
    for form in (parallel, lambda *qkv: chunked(*qkv, chunk)[0], lambda *qkv: recurrent(*qkv)[0]):
        qkv = [x.requires_grad_() for x in draw(B, H, T, seed)]
        gradients.append(torch.autograd.grad(form(*qkv).square().sum(), qkv))
    for others in gradients[1:]:
        for expected, gradient in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(gradient, expected, atol=5e-5, rtol=1e-4)


def test_the_gradient_is_the_derivative():
    qkv = [x.double().requires_grad_() for x in draw(1, 2, 7, width=3)]
    assert torch.autograd.gradcheck(parallel, qkv)
    assert torch.autograd.gradcheck(lambda *x: chunked(*x, 3)[0], qkv)


@pytest.mark.parametrize("T", [1, 33])
def test_rows_of_the_implicit_matrix_are_distributions_over_the_past(T):
    q, k, _ = draw(2, 3, T)
    matrix = weights(q, k)
    assert (matrix >= 0).all()
    assert matrix.triu(1).count_nonzero() == 0
    torch.testing.assert_close(matrix.sum(-1), torch.ones(2, 3, T))


def test_features_that_all_underflow_give_no_nan():
    q, k, v = draw(1, 1, 70)
    for form in ("parallel", "chunked"):
        assert attend(q - 200, k - 200, v, form).isfinite().all()


def test_auto_takes_the_form_by_the_length_alone(monkeypatch):
    taken = []
    monkeypatch.setattr(linear_attention, "parallel", lambda q, k, v: taken.append("parallel"))
    monkeypatch.setattr(linear_attention, "chunked", lambda q, k, v, chunk: [taken.append("chunked")])
    for T in (1, linear_attention.PARALLEL_UP_TO, linear_attention.PARALLEL_UP_TO + 1):
        attend(*draw(1, 1, T))
    assert taken == ["parallel", "parallel", "chunked"]


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest result of any operation, in the backward pass too."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(x.untyped_storage().nbytes() // 4 for x in tree_leaves(result) if isinstance(x, torch.Tensor))])
        return result


def largest(T, chunk=64, width=32):
    qkv = [x.requires_grad_() for x in draw(1, 2, T, width=width)]
    with LargestTensor() as recorder:
        chunked(*qkv, chunk)[0].sum().backward()
    return recorder.numel


def test_memory_grows_with_the_length_and_holds_no_state_a_token():
    B, H, T, K, C = 1, 2, 2048, 32, 64
    assert largest(T) <= B * H * T * C  # the scores inside the chunks; a state a token would be B H T K K
    assert largest(T) < B * H * T * K * K / 10
    assert largest(2 * T) == 2 * largest(T)
