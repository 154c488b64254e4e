"""What flows through a model is the same here and in TransformerLens: every value, the logit lens and the direct logit attribution."""

from copy import deepcopy
from dataclasses import asdict

import numpy as np
import pytest
import torch
import transformers
from lens_bridge import bridge_config, bridged, rotary_tables
from lens_models import T, V, built
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformer_lens.model_bridge.sources.native.model import NativeRotary

from picollm import exchange
from picollm.analysis._predictions import Asked
from picollm.analysis.attribution import attributed
from picollm.analysis.logit_lens import _read, lens
from picollm.nn.decoder import Model, attention_matrices
from picollm.nn.taps import Recorder
from picollm.training.batches import IGNORED
from picollm.training.checkpoints import save_model


@pytest.fixture
def recorder(model, ids):
    found = Recorder()
    with torch.no_grad():
        model(ids, tap=found)
    return found


@pytest.fixture
def cache(bridge, ids):
    with torch.no_grad():
        return bridge.run_with_cache(ids)[1]


@pytest.fixture
def ask(ids):
    """Not every token is asked for."""
    targets = ids.roll(-1, 1)
    targets[:, :3], targets[:, -1] = IGNORED, IGNORED
    return Asked("repeats", ids, targets)


def test_rotary_positions_are_the_same(model, close):
    """As far as the sequences here reach; see rotary_tables."""
    if model.rotary is None:
        pytest.skip("the positions are learned")
    theirs = NativeRotary(bridge_config(model))
    for name, table in rotary_tables(model).items():
        close("rotary tables", table[:T], getattr(theirs, name)[:T])


@torch.no_grad()
def test_the_logits_are_the_same(model, bridge, ids, close):
    close("logits", model(ids), bridge(ids))


@torch.no_grad()
def test_in_single_precision_the_logits_are_the_same_beside_the_largest(model, ids, close):
    single = deepcopy(model).float()
    theirs = bridged(single)(ids)
    close("logits in single precision, over the largest", single(ids) / theirs.abs().max(), theirs / theirs.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_an_exported_model_is_the_same_in_their_bridge(name, ids, close, tmp_path):
    """The way of a user: export, transformers, TransformerLens."""
    model = Model(built(name, "random").config, V)
    model.load_state_dict(built(name, "random").state_dict())
    save_model(tmp_path / "ours", model, {"model": asdict(model.config)})
    exchange.export(tmp_path / "ours", tmp_path / "theirs")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", attn_implementation="eager").eval()
    bridge = build_bridge_from_module(theirs, architecture=type(theirs).__name__, hf_config=theirs.config)
    recorder = Recorder()
    model(ids, tap=recorder)
    logits, cache = bridge.run_with_cache(ids)
    close("exported: logits", recorder["logits"], logits)
    for layer in range(model.config.n_layer):
        close("exported: residual stream", recorder[f"{layer}.resid_post"], cache["resid_post", layer])
        close("exported: attention patterns", model.attention_weights(recorder, layer), cache["pattern", layer])


def test_the_residual_stream_is_the_same_at_every_layer(model, recorder, cache, close):
    embedded = cache["hook_embed"] + cache["hook_pos_embed"] if model.positions is not None else cache["hook_embed"]
    close("residual stream", recorder["embed"], embedded)
    for layer in range(model.config.n_layer):
        for site in ("resid_pre", "resid_mid", "resid_post"):
            close("residual stream", recorder[f"{layer}.{site}"], cache[site, layer])
    close("residual stream, after the last norm", recorder["ln_f"], cache["ln_final.hook_out"])


def test_what_layers_compute_is_the_same(model, recorder, cache, close):
    """Their queries and keys have not turned yet where positions are rotary, ours have."""
    for layer in range(model.config.n_layer):
        for site in ("v", "z") if model.rotary else ("q", "k", "v", "z"):
            close(f"heads' {site}", recorder[f"{layer}.{site}"].transpose(1, 2), cache[site, layer])
        close("attention's output", recorder[f"{layer}.attn_out"], cache["attn_out", layer])
        close("MLPs' neurons", recorder[f"{layer}.mlp_post"], cache["post", layer])


def test_the_attention_patterns_are_the_same(model, ids, cache, close):
    for layer, pattern in enumerate(attention_matrices(model, ids)):
        close("attention patterns", pattern, cache["pattern", layer])


def test_the_logit_lens_reads_the_same(model, cache, ask, close):
    """Their stack begins with what enters layer 0, ours with the embedding; ours has the model's own logits once more."""
    theirs = cache.logit_lens(return_type="logits", positions=None).values[:, ask.places]
    ((ours, targets),) = _read(model, ask)
    close("logit lens, logits", ours[:-1], theirs)
    logs = theirs.log_softmax(-1)
    saved = np.log(logs.shape[-1]) + logs.gather(-1, targets.expand(len(logs), -1)[..., None])[..., 0]
    kl = (logs[-1].exp() * (logs[-1] - logs)).sum(-1)
    found = lens(model, ask)
    close("logit lens, nats saved", found["saved"], ask.means(saved.numpy()))
    close("logit lens, KL", found["kl"], ask.means(kl.numpy()))


def test_every_part_says_the_same_of_the_right_token(model, ask, close):
    """With their norms folded and their unembedding centred, as the attribution of theirs asks for; ours does the same as it goes.

    Value biases stay with the heads, as here; the rest of what is the same everywhere is our one part "bias".
    """
    theirs = bridged(model)
    theirs.enable_compatibility_mode(disable_warnings=True, fold_value_biases=False)
    c, asked = model.config, ask.targets.clamp_min(0)
    with torch.no_grad():
        _, cache = theirs.run_with_cache(ask.inputs)

    def shares(stack):  # (P, N, T, D) -> (P, M)
        return cache.logit_attrs(stack, asked)[:, ask.places]

    found = attributed(model, ask)
    found_of = {group: found.shares[found.group == group] for group in ("attention", "mlp", "embed", "bias")}
    close("attribution, heads", found_of["attention"], shares(cache.stack_head_results()))
    embedded = cache["hook_embed"] + cache["hook_pos_embed"] if model.positions is not None else cache["hook_embed"]
    close("attribution, embedding", found_of["embed"], shares(embedded[None]))
    biases = [0 if c.activation == "swiglu" else block.mlp.b_out for block in theirs.blocks]
    close("attribution, MLPs", found_of["mlp"], shares(torch.stack([cache["mlp_out", layer] - bias for layer, bias in enumerate(biases)])))
    last = theirs.accumulated_bias(c.n_layer).expand_as(embedded)[None]
    if len(found_of["bias"]):
        close("attribution, biases", found_of["bias"], shares(last) + theirs.b_U[asked][ask.places])
    logit = found.shares.sum(0)
    close("attribution, all parts", logit, theirs(ask.inputs).gather(-1, asked[..., None])[..., 0][ask.places])
