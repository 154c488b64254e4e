"""The parts add up, for every kind of attention and every place of the norms; a planted speaker is found."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from picollm import models
from picollm.analysis._parts import parts
from picollm.analysis._predictions import Asked
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.attribution import analyse, attributed
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.taps import Editor

OPTIONS = [
    {"norm": "rmsnorm", "activation": "swiglu", "bias": False},
    {"loops": 2, "input_injection": True},
    {"n_kv_head": 1, "sinks": True, "head_width": 6},
    {"positions": "learned", "tie_embeddings": False},
    {"short_conv": 3, "positions": "alibi", "output_norm": True},
]


def random_model(block: dict[str, object]) -> models.Model:
    """No weight, bias or norm at its neutral start."""
    small = {"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 2, "positions": "sinusoidal"}  # rope's angles are single whatever the weights
    model = models.build({**small, **block}, 23, "model").eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4, generator=generator)
    return model


@pytest.mark.parametrize("position", ["pre", "post", "both"])
@pytest.mark.parametrize("block", [*({"attention": kind} for kind in ("softmax", *VARIANTS)), *OPTIONS], ids=str)
def test_the_parts_add_up_to_all_logits(block: dict[str, object], position: str) -> None:
    ids = torch.randint(0, 23, (3, 9), generator=torch.Generator().manual_seed(3))
    places = ids > 6
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        model = random_model({**block, "norm_position": position}).to(dtype)
        found, logits = parts(model, ids, places)
        assert sum(found.values()).shape == (int(places.sum()), 16)
        missed = (sum(found.values()) @ model.head.weight.mT - logits).abs().max() / logits.abs().max()
        assert missed < tolerance
        assert len([name for name in found if name.partition(".")[2].isdigit()]) == 2 * model.config.depth


@pytest.mark.parametrize("kind", ["softmax", "linear", "gated_delta"])
def test_a_part_is_what_the_logits_lose_without_it(kind: str) -> None:
    """Where nothing follows a head but the linear map to logits, taking its output away takes its part away."""
    model = random_model({"attention": kind}).double()
    model.norm = nn.Identity()
    nn.init.zeros_(model.blocks[1].mlp.down.weight)
    ids = torch.randint(0, 23, (2, 8), generator=torch.Generator().manual_seed(4))
    found, logits = parts(model, ids, torch.ones_like(ids, dtype=torch.bool))

    def silenced(z: torch.Tensor) -> torch.Tensor:
        return torch.cat((z[:, :1], torch.zeros_like(z[:, 1:])), 1)

    with torch.no_grad():
        without = model(ids, tap=Editor({"1.z": silenced})).flatten(0, 1)
        assert torch.allclose(logits - without, found["1.1"] @ model.head.weight.mT, atol=1e-10)


def test_a_norm_keeps_the_scale_that_it_had() -> None:
    """Where the second block adds nothing, the first one's MLP goes through the last norm alone."""
    model = random_model({"norm": "rmsnorm"}).double()
    nn.init.zeros_(model.blocks[1].attention.out.weight)
    nn.init.zeros_(model.blocks[1].mlp.down.weight)
    ids = torch.randint(0, 23, (1, 5), generator=torch.Generator().manual_seed(5))
    found, _ = parts(model, ids, torch.ones_like(ids, dtype=torch.bool))
    kept = {}
    with torch.no_grad():
        model(ids, tap=lambda site, value: kept.setdefault(site, value))
        x = kept["1.resid_post"][0]
        block = model.blocks[0].mlp
        own = kept["0.mlp_post"][0] @ block.down.weight.mT
        rms = x.square().mean(-1, keepdim=True).add(1e-5).sqrt()
        assert torch.allclose(found["0.mlp"], own / rms * model.norm.weight, atol=1e-10)


def test_shares_are_of_the_right_token_above_the_mean() -> None:
    model = random_model({})
    ids = torch.randint(0, 23, (2, 6), generator=torch.Generator().manual_seed(6))
    targets = ids.roll(-1, 1)
    targets[:, -1] = -100
    found = attributed(model, Asked("any", ids, targets), orders=3)
    with torch.no_grad():
        logits = model(ids)[:, :-1].flatten(0, 1).numpy()
    wanted = logits[np.arange(10), targets[:, :-1].flatten()] - logits.mean(-1)
    assert np.allclose(found.shares.sum(0), wanted, atol=1e-4)
    assert found.error.max() < 1e-5
    assert found.heads(found.shares.T).shape == (10, 2, 2)
    assert found.heads(found.shares.T)[3, 1, 0] == found.shares[found.names.index("1.0"), 3]
    assert found.others.shape == (3, len(found.names))
    total = logits[:, targets[:, :-1].flatten()].mean() - logits.mean()  # over all orders
    assert abs(found.others.sum(1).mean() - total) < 3 * np.abs(wanted).max()


def test_a_head_that_says_the_answer_is_found(make: Callable[..., Subject]) -> None:
    """Of sequences that stand still, a head that repeats its own token says all there is to say."""
    subject = make(options={"sequence_types": ["alternating"]}, d_model=128, n_layer=2, n_head=2, head_width=128, positions="none", tie_embeddings=False)
    model = subject.model
    with torch.no_grad():
        model.embed.weight.copy_(torch.eye(128))
        model.head.weight.copy_(torch.eye(128).roll(1, 0) + torch.eye(128).roll(-1, 0))  # the other one of two neighbours
        for block in model.blocks:
            for module in (block.attention.qkv, block.attention.out, block.mlp.down):
                nn.init.zeros_(module.weight)
        attention = model.blocks[1].attention
        q, k, v = attention.qkv.weight.view(3, 2, 128, 128)
        q[0] = k[0] = v[0] = torch.eye(128)
        attention.out.weight[:, :128] = torch.eye(128)
    result = analyse(subject)
    assert isinstance(result, Result)
    head = result.metrics["alternating.highest_head"]
    assert (head["layer"], head["head"]) == (1, 0)
    assert head["value"] > 5 * head["untrained_high"]
    assert head["value"] > head["other_tokens_high"]
    assert result.metrics["alternating.mlp"]["value"] == pytest.approx(0, abs=1e-6)
    parts_of_logit = sum(result.metrics[f"alternating.{group}"]["value"] for group in ("embed", "attention", "mlp", "bias"))
    assert result.metrics["alternating.logit"]["value"] == pytest.approx(parts_of_logit, rel=1e-4)
    assert result.metrics["alternating.missed"]["largest"] < 1e-4
    assert "tested for and not found" not in result.claims[1].filled(result.metrics)


def test_untrained_models_have_no_speaker_but_by_chance(make: Callable[..., Subject]) -> None:
    result = analyse(make("text", {"untrained": 19}, n_layer=1))
    assert isinstance(result, Result)
    assert result.metrics["text.highest_head"]["untrained_p"] > 0.05
    for found in result.metrics.values():
        assert {"value", "n", "low", "high", "untrained"} <= set(found)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
        ({"attention": "convolution", "short_conv": 3}, "a convolution has no heads to tell apart"),
    ],
)
def test_skips(make: Callable[..., Subject], block: dict[str, object], reason: str) -> None:
    assert analyse(make(**block)) == Skip(reason)
