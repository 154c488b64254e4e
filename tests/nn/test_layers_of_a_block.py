"""The small parts of a block: norms, MLP and taps, each against its formula."""

import pytest
import torch
import torch.nn.functional as F

from picollm.nn.mlp import MLP
from picollm.nn.norms import norm
from picollm.nn.taps import Recorder, untapped


@pytest.fixture
def x():
    return torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


def test_layer_norm_centres_and_scales(x):
    y = norm("layernorm", 8, bias=True)(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(2, 5), atol=1e-3, rtol=0)


def test_rms_norm_only_scales(x):
    torch.testing.assert_close(norm("rmsnorm", 8, bias=True)(x), x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt())


@pytest.mark.parametrize(("kind", "bias", "names"), [("layernorm", True, ["weight", "bias"]), ("layernorm", False, ["weight"]), ("rmsnorm", True, ["weight"])])
def test_norms_have_a_gain_and_perhaps_a_bias(kind, bias, names):
    assert [name for name, _ in norm(kind, 8, bias).named_parameters()] == names


def test_gelu_mlp_is_its_formula(x):
    mlp = MLP(8, 12, "gelu", bias=True)
    torch.testing.assert_close(mlp(x), F.gelu(x @ mlp.up.weight.T + mlp.up.bias) @ mlp.down.weight.T + mlp.down.bias)


def test_swiglu_mlp_is_its_formula(x):
    mlp = MLP(8, 12, "swiglu", bias=False)
    gate, value = x @ mlp.up.weight[:12].T, x @ mlp.up.weight[12:].T
    torch.testing.assert_close(mlp(x), (gate * gate.sigmoid() * value) @ mlp.down.weight.T)


@pytest.mark.parametrize(
    ("activation", "formula"),
    [("gelu_tanh", lambda a: 0.5 * a * (1 + (0.7978845608 * (a + 0.044715 * a**3)).tanh())), ("relu2", lambda a: a.clamp(min=0) ** 2)],
)
def test_mlps_of_other_activations_are_their_formulas(x, activation, formula):
    mlp = MLP(8, 12, activation, bias=True)
    torch.testing.assert_close(mlp(3 * x), formula(3 * x @ mlp.up.weight.T + mlp.up.bias) @ mlp.down.weight.T + mlp.down.bias)


def test_the_clamped_swiglu_is_its_formula(x):
    mlp = MLP(8, 12, "swiglu_clamped", bias=True)
    gate, value = (40 * x @ mlp.up.weight.T + mlp.up.bias).chunk(2, -1)
    assert gate.max() > 7 > -7 > gate.min()
    assert value.max() > 7 > -7 > value.min()
    gate, value = gate.clamp(max=7), value.clamp(-7, 7)
    torch.testing.assert_close(mlp(40 * x), (gate * (1.702 * gate).sigmoid() * (value + 1)) @ mlp.down.weight.T + mlp.down.bias)


def test_taps_of_the_mlp_stand_before_and_after_the_activation(x):
    recorder, mlp = Recorder(), MLP(8, 12, "gelu", bias=True)
    mlp(x, recorder, "3.")
    assert list(recorder.values) == ["3.mlp_pre", "3.mlp_post"]
    assert torch.equal(F.gelu(recorder["3.mlp_pre"]), recorder["3.mlp_post"])


def test_a_recorder_keeps_the_sites_it_was_given_without_their_graph(x):
    recorder = Recorder(["a"])
    value = x.requires_grad_() * 2
    assert recorder("a", value) is value
    assert recorder("b", value) is value
    assert list(recorder.values) == ["a"]
    assert not recorder["a"].requires_grad


def test_untapped_hands_the_value_through(x):
    assert untapped("a", x) is x
