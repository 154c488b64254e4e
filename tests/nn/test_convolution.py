"""Short convolutions: PyTorch's grouped convolution, whichever way the tokens come in."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.nn.convolution import ConvolutionState, GatedConvolution, ShortConvolution

EXAMPLES = settings(max_examples=30)


def made(width, kernel, seed=0):
    torch.manual_seed(seed)
    module = ShortConvolution(width, kernel)
    module.filters.data.normal_()
    return module


@EXAMPLES
@given(B=st.integers(1, 3), T=st.integers(1, 20), width=st.integers(1, 6), kernel=st.integers(2, 5), seed=st.integers(0, 99))
def test_it_is_the_causal_convolution_of_each_channel(B, T, width, kernel, seed):
    module, x = made(width, kernel, seed), torch.randn(B, T, width)
    filters = module.filters[:, 0].flip(0).T.unsqueeze(1)  # PyTorch's first weight is the oldest token's
    expected = F.conv1d(F.pad(x.mT, (kernel - 1, 0)), filters, groups=width).mT
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)


@EXAMPLES
@given(T=st.integers(1, 20), kernel=st.integers(2, 5), data=st.data())
def test_a_state_takes_over_at_any_token(T, kernel, data):
    module, x = made(4, kernel), torch.randn(2, T, 4)
    cuts = sorted(data.draw(st.sets(st.integers(1, T), max_size=4)) | {T})
    state = ConvolutionState(2, kernel, 4, x)
    parts = [module(x[:, start:end], state) for start, end in zip([0, *cuts], cuts, strict=False)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x))
    assert state.last.shape == (2, kernel - 1, 4)


def test_a_fresh_one_leaves_a_token_almost_as_it_is():
    torch.manual_seed(0)
    x = torch.randn(3, 9, 16)
    assert float((ShortConvolution(16, 4)(x) - x).detach().std()) == pytest.approx(0.02 * 3**0.5, rel=0.4)


def test_the_mixer_without_attention_sees_as_far_as_its_kernel():
    torch.manual_seed(0)
    mixer, x = GatedConvolution(8, 3, bias=True), torch.randn(1, 9, 8)
    changed = x.clone()
    changed[:, 2] += 1
    moved = (mixer(changed) - mixer(x)).abs().amax(-1)[0]
    assert (moved[2:5] > 0).all()
    assert (moved[[0, 1, 5, 6, 7, 8]] == 0).all()
