"""Taps cost nothing while nobody listens, and little while somebody does: held against the model's own source without them.

Time is measured by `python -m benchmarks taps`; here only what is the same on every machine.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import tap_free
from picollm.models.transformer import Config, Model
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.taps import Recorder

V = 17
SMALL = {"d_model": 32, "n_head": 4, "n_layer": 2, "block_size": 32}
KINDS = [{"attention": kind} for kind in ("softmax", *VARIANTS)]
CHUNKED = [{"attention": kind, "attention_form": "chunked", "chunk": 4} for kind in VARIANTS]
OTHERS = [
    {"attention": "convolution", "short_conv": 4, "positions": "none"},
    {"norm_position": "both", "norm": "rmsnorm", "activation": "swiglu", "bias": False, "qk_norm": True, "n_kv_head": 2},
    {"norm_position": "post", "positions": "alibi", "short_conv": 3, "output_norm": True, "softmax_scale": "log"},
    {"loops": 2, "input_injection": True, "sinks": True, "sliding_window": 4},
    {"position_ids": "block", "positions": "learned", "column_window": 1},
    {"position_ids": "block", "positions": "sinusoidal"},
    {"position_ids": "coupled", "positions": "rope", "digit_order": "plain"},
]


def build(made_by=Model, config=Config, **settings):
    torch.manual_seed(0)
    return made_by(config(**{**SMALL, **settings}), V).eval()


@pytest.fixture
def ids():
    return torch.randint(0, V, (3, 13), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("settings", [*KINDS, *CHUNKED, *OTHERS], ids=str)
def test_without_a_listener_logits_and_gradients_are_bitwise_those_of_a_model_without_taps(settings, ids):
    model, copy = build(**settings), build(tap_free.Model, tap_free.Config, **settings)
    assert type(model) is not type(copy)
    logits = {name: each(ids) for name, each in (("model", model), ("copy", copy))}
    assert torch.equal(logits["model"], logits["copy"])
    for each in logits.values():
        each.square().sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), copy.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert torch.equal(ours.grad, theirs.grad), name


def test_the_copy_has_no_place_for_a_tap(ids):
    with pytest.raises(TypeError, match="tap"):
        build(tap_free.Model, tap_free.Config)(ids, tap=Recorder())


@pytest.mark.filterwarnings("ignore:.*lru_cache")  # of Taylor features: traced through all the same
@pytest.mark.parametrize("settings", [*KINDS, *(pytest.param(settings, marks=pytest.mark.slow) for settings in (*CHUNKED, *OTHERS))], ids=str)
def test_a_compiled_model_is_one_graph(settings, ids):
    """`fullgraph` raises at a break."""
    torch._dynamo.reset()
    model = build(**{**settings, "n_layer": 1})
    with torch.no_grad():
        assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(ids), model(ids))


@pytest.mark.filterwarnings("ignore:.*lru_cache")
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_compiled_model_is_one_graph_in_training(settings, ids):
    """Without AOTAutograd: of kinds with gates it traces a gradient that cannot run (PyTorch 2.13; `softplus(linear(x).mT).cumsum(-1)` is enough)."""
    torch._dynamo.reset()
    model, compiled = (build(**settings, n_layer=1).train() for _ in range(2))
    model(ids).square().sum().backward()
    torch.compile(compiled, backend="eager", fullgraph=True)(ids).square().sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=lambda text, name=name: f"{name}: {text}")


class Operators(TorchDispatchMode):
    """Counts what is called."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


@torch.no_grad()
@pytest.mark.parametrize("settings", [*KINDS, *CHUNKED, *OTHERS], ids=str)
def test_recording_everything_computes_nothing_more(settings, ids):
    """Its only operators beyond the forward pass are detached views, one a site."""
    model, recorder = build(**settings), Recorder()
    with Operators() as plain:
        model(ids)
    with Operators() as recorded:
        model(ids, tap=recorder)
    assert recorded.counts - plain.counts == {"aten.detach.default": len(recorder.values)}
    assert not plain.counts - recorded.counts


@torch.no_grad()
@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("length", [16, 64, 128])
def test_recording_with_all_weights_costs_at_most_two_forward_passes(settings, length):
    """In operations, at the study's sizes."""
    model, ids = build(**{**settings, "d_model": 128}), torch.randint(0, V, (2, length))
    with FlopCounterMode(display=False) as plain:
        model(ids)
    with FlopCounterMode(display=False) as recorded:
        recorder = Recorder()
        model(ids, tap=recorder)
        for layer in range(model.config.depth):
            model.attention_weights(recorder, layer)
    assert recorded.get_total_flops() <= 2 * plain.get_total_flops()
