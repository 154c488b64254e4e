"""The transformer: its configuration, size, initial weights, and the taps that look inside and edit."""

import pytest
import torch

from picollm import models
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.models.transformer import Config, Model
from picollm.nn.decoder import attention_matrices
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.taps import Editor, PatternEditor, Recorder, joined

V = 17
SITES = ("resid_pre", "q", "k", "v", "z", "attn_out", "resid_mid", "mlp_pre", "mlp_post", "resid_post")


def build(**settings):
    torch.manual_seed(0)
    return Model(Config(**{"d_model": 32, "n_head": 4, "n_layer": 2, "block_size": 32, **settings}), V).eval()


@pytest.fixture(params=["softmax", "linear"])
def model(request):
    return build(attention=request.param)


@pytest.fixture
def ids():
    return torch.randint(0, V, (2, 9), generator=torch.Generator().manual_seed(0))


def test_every_site_is_tapped_in_order(model, ids):
    recorder = Recorder()
    model(ids, tap=recorder)
    assert list(recorder.values) == ["embed", *(f"{layer}.{site}" for layer in range(2) for site in SITES), "ln_f", "logits"]


def test_sites_have_the_shapes_of_the_contract(model, ids):
    recorder = Recorder()
    logits = model(ids, tap=recorder)
    heads, residual = (2, 4, 9, 8), (2, 9, 32)
    shapes = dict.fromkeys(("q", "k", "v", "z"), heads) | dict.fromkeys(("mlp_pre", "mlp_post"), (2, 9, 128))
    for site in SITES:
        assert recorder[f"1.{site}"].shape == shapes.get(site, residual), site
    assert recorder["embed"].shape == recorder["ln_f"].shape == residual
    assert torch.equal(recorder["logits"], logits)


@torch.no_grad()
def test_recording_leaves_the_logits_bitwise_the_same(model, ids):
    assert torch.equal(model(ids, tap=Recorder()), model(ids))


@torch.no_grad()
@pytest.mark.parametrize("site", ["embed", *(f"{layer}.{site}" for layer in range(2) for site in SITES), "ln_f", "logits"])
def test_an_edit_at_any_site_changes_the_logits(model, ids, site):
    edited = model(ids, tap=lambda name, value: value.flip(-1) if name == site else value)
    assert not torch.allclose(edited, model(ids))


@torch.no_grad()
def test_an_edit_acts_from_its_position_on(model, ids):
    def erase(name, value):
        return value.index_fill(1, torch.tensor([4]), 0.0) if name == "0.resid_mid" else value

    edited, plain = model(ids, tap=erase), model(ids)
    torch.testing.assert_close(edited[:, :4], plain[:, :4])
    assert (edited[:, 4:] - plain[:, 4:]).abs().amax((0, 2)).min() > 0


def test_a_tap_that_is_an_empty_collection_is_used(model, ids):
    class Names(list):
        def __call__(self, name, value):
            self.append(name)
            return value

    names = Names()
    model(ids, tap=names)
    assert len(names) == 2 * len(SITES) + 3


@torch.no_grad()
def test_the_residual_stream_is_a_sum(model, ids):
    r = Recorder()
    model(ids, tap=r)
    torch.testing.assert_close(r["0.resid_mid"], r["0.resid_pre"] + r["0.attn_out"])
    assert torch.equal(r["0.resid_pre"], r["embed"])
    assert torch.equal(r["1.resid_pre"], r["0.resid_post"])


@torch.no_grad()
@pytest.mark.parametrize("position", ["pre", "post", "both"])
def test_norms_stand_where_their_name_says(position, ids):
    model, r = build(norm_position=position), Recorder()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    model(ids, tap=r)
    block, x = model.blocks[1], r["1.resid_pre"]

    def norm(name, y):
        return getattr(block, f"norm_{name}")(y)

    def attention(y):
        return block.attention(y)

    if position == "pre":
        mid = x + attention(norm("attention", x))
        after = mid + block.mlp(norm("mlp", mid))
    elif position == "post":
        mid = norm("attention", x + attention(x))
        after = norm("mlp", mid + block.mlp(mid))
        assert torch.equal(r["ln_f"], r["1.resid_post"])
    else:
        mid = x + norm("attention_out", attention(norm("attention", x)))
        after = mid + norm("mlp_out", block.mlp(norm("mlp", mid)))
    torch.testing.assert_close(r["1.resid_mid"], mid)
    torch.testing.assert_close(r["1.resid_post"], after)


@torch.no_grad()
def test_normed_queries_and_keys_have_one_size_until_they_turn(ids):
    model, r = build(qk_norm=True, n_kv_head=2), Recorder()
    model(ids, tap=r)
    assert r["0.q"].shape == (2, 4, 9, 8)
    assert r["0.k"].shape == (2, 2, 9, 8)
    for name in "qk":
        torch.testing.assert_close(r[f"0.{name}"].square().mean(-1), torch.ones(r[f"0.{name}"].shape[:-1]), atol=0.05, rtol=0)


def test_windows_alternate_as_in_gpt_oss():
    model = build(n_layer=5, sliding_window=4, full_every=2)
    assert [attention.kernel.window for attention in model.attentions] == [4, None, 4, None, 4]
    assert [attention.kernel.window for attention in build(n_layer=6, sliding_window=4, full_every=3).attentions] == [4, 4, None, 4, 4, None]


@torch.no_grad()
def test_logits_that_are_not_finite_are_an_error_outside_of_training(ids):
    model = build()
    assert torch.equal(model.logits(ids), model(ids))
    model.blocks[0].mlp.up.bias[0] = float("nan")
    with pytest.raises(UserError, match=r"^model: its logits are not finite; "):
        model.logits(ids)
    assert model.train().logits(ids).isnan().any()  # where the loop says which step, and what to do


@torch.no_grad()
def test_an_editor_replaces_what_it_names_and_nothing_else(model, ids):
    plain, edited = Recorder(), Recorder()
    model(ids, tap=plain)
    silence = Editor({"0.z": torch.zeros_like})
    model(ids, tap=lambda site, value: edited(site, silence(site, value)))
    changed = [site for site in plain.values if not torch.equal(plain[site], edited[site])]
    assert changed[0] == "0.z"
    assert not edited["0.z"].any()
    assert "0.v" not in changed
    assert torch.equal(model(ids, tap=Editor({})), model(ids))


@torch.no_grad()
def test_edited_patterns_are_applied(model, ids):
    """Left as they are, they give the same logits; looking at itself alone, a token gets its own value."""
    torch.testing.assert_close(model(ids, tap=PatternEditor(model, {0: lambda weights: weights, 1: lambda weights: weights})), model(ids))
    recorder = Recorder()
    editor = PatternEditor(model, {1: lambda weights: torch.eye(weights.shape[-1]).expand_as(weights)})
    model(ids, tap=lambda site, value: recorder(site, editor(site, value)))
    torch.testing.assert_close(recorder["1.z"], recorder["1.v"])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["softmax", *VARIANTS])
@pytest.mark.parametrize("form", ["whole", "parallel", "chunked", "cached"])
def test_recorded_passes_show_the_weights_that_were_applied(kind, form, ids):
    """For every kind, in all its forms, also where tokens came one after another and their taps are put together."""
    if kind == "softmax" and form in ("parallel", "chunked"):
        pytest.skip("softmax has one form")
    own = {} if form in ("whole", "cached") else {"attention_form": form, "chunk": 4}
    model, recorder = build(attention=kind, short_conv=3, **own), Recorder()
    if form == "cached":
        state, parts = model.empty_state(2, ids.shape[1]), []
        for t in range(ids.shape[1]):
            parts.append(Recorder())
            model(ids[:, t : t + 1], state=state, tap=parts[-1])
        recorder = joined(parts)
    else:
        model(ids, tap=recorder)
    assert torch.equal(recorder["embed"], model.embed(ids))
    for layer in range(2):
        z = model.attentions[layer].kernel.applied(model.attention_weights(recorder, layer), recorder[f"{layer}.v"])
        torch.testing.assert_close(z, recorder[f"{layer}.z"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_matrices_are_those_that_made_the_output(model, ids):
    r = Recorder()
    model(ids, tap=r)
    matrices = attention_matrices(model, ids)
    assert matrices.shape == (2, 2, 4, 9, 9)
    for layer in range(2):
        assert torch.equal(matrices[layer], model.attention_weights(r, layer))
        torch.testing.assert_close(matrices[layer] @ r[f"{layer}.v"], r[f"{layer}.z"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(matrices.sum(-1), torch.ones(2, 2, 4, 9))


@torch.no_grad()
@pytest.mark.parametrize("positions", ["rope", "learned", "none"])
def test_the_forms_of_linear_attention_give_one_model(positions):
    ids = torch.randint(0, V, (2, 30))
    by_form = {form: build(attention="linear", positions=positions, attention_form=form, chunk=8) for form in ("auto", "parallel", "chunked")}
    expected = by_form["parallel"](ids)
    for model in by_form.values():
        torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_only_positions_tell_an_order_apart():
    """With one layer and no positions, the last token sees the earlier ones as a bag."""
    ids = torch.tensor([[1, 2, 3, 4, 5], [3, 1, 4, 2, 5]])
    for positions in ("none", "rope", "learned", "sinusoidal"):
        first, second = build(n_layer=1, positions=positions)(ids)[:, -1]
        assert torch.allclose(first, second, atol=1e-6) == (positions == "none"), positions


def size(config):
    D, inner, H, G, K = config.d_model, config.inner_width, config.n_head, config.n_kv_head or config.n_head, config.width
    bias = int(config.bias)
    qkv_bias = bias if config.qkv_bias is None else int(config.qkv_bias)
    norm = D * (1 if config.norm == "rmsnorm" else 1 + bias)
    up = 2 * inner if config.activation.startswith("swiglu") else inner
    attention = (H + 2 * G) * K * (D + qkv_bias) + D * (H * K + bias) + H * config.sinks + 2 * K * config.qk_norm
    layer = (4 if config.norm_position == "both" else 2) * norm + attention + up * (D + bias) + D * (inner + bias)
    table = config.block_size * D if config.positions == "learned" else 0
    return V * D * (1 if config.tie_embeddings else 2) + table + config.n_layer * layer + norm * (config.norm_position != "post")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention": "linear"},
        {"positions": "learned"},
        {"norm": "rmsnorm", "activation": "swiglu"},
        {"bias": False, "tie_embeddings": False},
        {"d_ff": 50},
        {"norm_position": "post"},
        {"norm_position": "both", "activation": "relu2"},
        {"n_kv_head": 2, "head_width": 6, "qk_norm": True},
        {"sinks": True, "sliding_window": 4, "activation": "swiglu_clamped", "bias": False, "qkv_bias": True},
    ],
    ids=str,
)
def test_the_number_of_parameters(settings):
    model = build(**settings)
    assert model.n_parameters == size(model.config)


def test_both_kinds_of_attention_and_of_mlp_are_alike_in_size():
    softmax, linear, gated = build(), build(attention="linear"), build(activation="swiglu", bias=False)
    assert softmax.n_parameters == linear.n_parameters
    assert gated.n_parameters == pytest.approx(build(bias=False).n_parameters, rel=0.02)


def test_initial_weights_are_those_of_gpt2():
    model = build(d_model=128, n_layer=8)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, torch.full_like(parameter, float("norm" in name and name.endswith("weight")))), name
        else:
            std = 0.02 / 4 if name.endswith(("attention.out.weight", "mlp.down.weight")) else 0.02  # 4 = sqrt(2 x 8 layers)
            assert parameter.std().item() == pytest.approx(std, rel=0.06), name


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"n_head": 6, "d_model": 128}, "runs.a.model.n_head: 6 does not divide d_model 128"),
        ({"n_head": 4, "d_model": 12}, "runs.a.model.n_head: gives heads of odd width 3"),
        ({"d_model": 5, "n_head": 1, "positions": "sinusoidal"}, "runs.a.model.d_model: sinusoidal positions need an even width"),
        ({"n_layer": 0}, "runs.a.model.n_layer: must be at least 1, not 0"),
        ({"d_ff": 0}, "runs.a.model.d_ff: must be at least 1"),
        ({"dropout": 1.0}, "runs.a.model.dropout: must be in [0, 1)"),
        ({"attention": "linaer"}, "runs.a.model.attention: input should be 'softmax', 'linear', "),
        ({"chunk": 32}, "runs.a.model.chunk: attention softmax has no such option; remove it"),
        ({"attention": "linear", "chunk": 0}, "runs.a.model.chunk: 0 tokens; give at least 1"),
        ({"attention_form": "chunked"}, "runs.a.model.attention_form: attention softmax has no such option; remove it"),
        ({"attention": "delta", "qk_width": 8}, "runs.a.model.qk_width: attention delta has no such option; remove it"),
        ({"attention": "taylor", "qk_width": 5}, "runs.a.model.qk_width: rope cannot turn an odd width 5 in pairs"),
        ({"attention": "linear", "softmax_scale": "log"}, "runs.a.model.softmax_scale: attention linear has no such option; remove it"),
        ({"attention": "gated", "output_norm": True}, "runs.a.model.output_norm: attention gated has it anyway; remove it"),
        ({"attention": "convolution"}, "runs.a.model.short_conv: is all that attention convolution has; give the tokens it spans, such as 4"),
        (
            {"attention": "convolution", "short_conv": 4, "positions": "alibi"},
            "runs.a.model.positions: alibi is a cost on attention, and a convolution has none",
        ),
        ({"n_layer": 11}, "runs.a.model.n_layer: 11 blocks are more than 10, which takes long on a CPU; lower it, or set allow_deep: true"),
        ({"n_kv_head": 3}, "runs.a.model.n_kv_head: 3 does not divide n_head 4; choose a divisor"),
        ({"n_kv_head": 0}, "runs.a.model.n_kv_head: must be at least 1, not 0"),
        ({"attention": "linear", "n_kv_head": 2}, "runs.a.model.n_kv_head: attention linear has no such option; remove it"),
        ({"attention": "gated", "qk_norm": True}, "runs.a.model.qk_norm: attention gated has no such option; remove it"),
        ({"attention": "delta", "sinks": True}, "runs.a.model.sinks: attention delta has no such option; remove it"),
        ({"attention": "linear", "sliding_window": 8}, "runs.a.model.sliding_window: attention linear has no such option; remove it"),
        ({"sliding_window": 0}, "runs.a.model.sliding_window: must be at least 1, not 0"),
        ({"full_every": 2}, "runs.a.model.full_every: without a sliding_window every layer sees everything"),
        ({"full_every": 1, "sliding_window": 4}, "runs.a.model.full_every: must be at least 2, not 1"),
        ({"head_width": 7}, "runs.a.model.head_width: gives heads of odd width 7, which rope cannot turn in pairs"),
        (
            {"attention": "convolution", "short_conv": 4, "positions": "none", "head_width": 8},
            "runs.a.model.head_width: attention convolution has no such option",
        ),
        ({"yarn_factor": 0.5}, "runs.a.model.yarn_factor: must be at least 1, not 0.5"),
        ({"yarn_factor": 2.0, "positions": "none"}, "runs.a.model.yarn_factor: stretches rope, and positions are none; remove it"),
        ({"norm_eps": 0.0}, "runs.a.model.norm_eps: must be above 0, not 0.0"),
        ({"norm_position": "sandwich"}, "runs.a.model.norm_position: input should be 'pre', 'post' or 'both'"),
        ({"init": "xavier"}, "runs.a.model.init: input should be 'gpt2', 'scaled_normal', 'xavier_uniform' or 'torch_default'"),
        ({"short_conv": 1}, "runs.a.model.short_conv: 1 tokens; give at least 2, or 0 for none"),
        ({"n_heads": 2}, "runs.a.model.n_heads: unknown parameter (did you mean 'n_head'? known:"),
        ({"d_model": "128"}, 'runs.a.model.d_model: input should be a valid integer, not "128"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_the_configuration_is_named_by_its_path(block, message):
    with pytest.raises(UserError) as caught:
        parse(Config, {"kind": "transformer", **block}, "runs.a.model")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_of_model_is_named_with_a_guess():
    with pytest.raises(UserError, match=r"^runs\.a\.model\.kind: unknown 'transformr' \(did you mean 'transformer'\?"):
        models.build({"kind": "transformr"}, V, "runs.a.model")
    with pytest.raises(UserError, match=r"^runs\.a\.model\.kind: unknown None"):
        models.build({}, V, "runs.a.model")
