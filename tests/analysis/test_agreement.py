"""A model agrees with itself in all but the order of its heads and axes, and not with one that learned something else."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.agreement import analyse, match, scores
from picollm.models import Model

FEW = {"untrained": 3}


def swapped(model: Model) -> Model:
    """The same function, with the heads of every layer in the opposite order."""
    other = deepcopy(model)
    for block in other.blocks:
        attention = block.attention
        H, D = attention.n_head, other.config.d_model
        with torch.no_grad():
            attention.qkv.weight[:] = attention.qkv.weight.view(3, H, -1, D).flip(1).reshape(-1, D)
            attention.qkv.bias[:] = attention.qkv.bias.view(3, H, -1).flip(1).reshape(-1)
            attention.out.weight[:] = attention.out.weight.view(D, H, -1).flip(1).reshape(D, -1)
    return other


def sharpened(subject: Subject) -> Subject:
    """Heads that differ: an untrained model's are all but uniform."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for block in subject.model.blocks:
            block.attention.qkv.weight += torch.randn(block.attention.qkv.weight.shape, generator=generator)
    return subject


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


def test_heads_in_another_order_find_their_partners(make: Callable[..., Subject]) -> None:
    model = sharpened(make(n_head=4, n_layer=2)).model
    ids = np.random.default_rng(0).integers(0, 127, (12, 9))
    other = swapped(model)
    with torch.no_grad():
        assert torch.allclose(model(torch.from_numpy(ids)), other(torch.from_numpy(ids)), atol=1e-4)
    found = match(model, other, ids)
    assert found.partner.tolist() == [3, 2, 1, 0, 7, 6, 5, 4]
    assert found.alike == pytest.approx(1, abs=1e-3)
    assert all(np.allclose(own, partners, atol=1e-5) for own, partners in found.measures.values())


def test_the_same_model_twice_and_a_stranger(make: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    subject = sharpened(make(options=FEW, n_head=4))
    twin = saved("seed1", swapped(subject.model))
    stranger = saved("seed2", make(options=FEW, n_head=4, norm="rmsnorm").model)
    agreeing = analysed(replace(subject, others=(twin,))).metrics
    for name in ("cka.embed", "cka.0", "cka.1", "heads.alike", "heads.distance", "heads.self"):
        assert agreeing[name]["value"] == pytest.approx(1, abs=1e-3)
        assert agreeing[name]["low"] <= agreeing[name]["value"] <= agreeing[name]["high"]
    assert agreeing["heads.alike"]["value"] > agreeing["heads.alike"]["dealt_high"]
    assert agreeing["heads.alike"]["seeds"] == 1
    other = analysed(replace(subject, others=(stranger,))).metrics
    assert other["cka.1"]["value"] < agreeing["cka.1"]["value"] - 0.2
    assert other["heads.alike"]["value"] < 0.9
    both = analysed(replace(subject, others=(twin, stranger)))
    assert both.metrics["cka.1"]["value"] == pytest.approx((agreeing["cka.1"]["value"] + other["cka.1"]["value"]) / 2, abs=1e-5)
    assert len(both.tables[""]) == 9
    assert len(both.claims) == 2


def test_layers_like_their_own_and_no_other() -> None:
    assert scores(np.eye(3)).tolist() == [1, 1, 1, 1]
    assert scores(np.ones((2, 3, 3)))[:, -1].tolist() == [0, 0]


def test_what_applies_without_heads_and_to_other_tasks(make: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    few = make("recall", FEW, n_layer=1)
    assert analyse(replace(few, others=(few.raw,))) == Skip("needs 8 different sequences, there are 4")
    convolution = make("addition", FEW, attention="convolution", short_conv=2)
    metrics = analysed(replace(convolution, others=(saved("seed1", convolution.model),))).metrics
    assert set(metrics) == {"cka.embed", "cka.0", "cka.1", "cka.same_layer"}
    text = make("text", FEW)
    assert "heads.first" not in analysed(replace(text, others=(saved("seed2", text.model),))).metrics  # four heads have no rank correlation


def test_skips(make: Callable[..., Subject]) -> None:
    assert analyse(make()) == Skip("the run has one seed: there is no other to agree with")
    assert analyse(make(kind="lstm")) == Skip("lstm has no attention, and no taps inside its layers")
