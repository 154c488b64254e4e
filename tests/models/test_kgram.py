"""The k-gram network: its variants against their literal forms, chunks, memory, optimisers and configuration."""

import pytest
import torch
import torch.nn.functional as F
import torch.utils._pytree
from torch.utils._python_dispatch import TorchDispatchMode

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.models.kgram import Config, Model
from picollm.training import optimizers
from picollm.training.muon import Muon
from picollm.training.recipe import Recipe

V, K, D, H = 17, 3, 8, 12
VARIANTS = ("onehot", "embedding", "convolution")


def build(variant="embedding", V=V, **settings):
    torch.manual_seed(0)
    model = Model(Config(**{"variant": variant, "k": K, "d_model": D, "d_hidden": H, **settings}), V)
    with torch.no_grad():
        model.bias.normal_()
        model.head.weight.normal_()
    return model


def draw(B, T, V=V):
    return torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(0))


def contexts(x):
    """The last K vectors at every position, newest first, zeros before the first: (B, T, D) -> (B, T, K, D)."""
    return torch.stack([F.pad(x, (0, 0, back, 0))[:, : x.shape[1]] for back in range(K)], 2)


def literal(model, ids):
    """Logits by the textbook: one-hot vectors, concatenated, through one matrix; or embeddings, concatenated or convolved."""
    c = model.config
    if c.variant == "onehot":
        matrix = model.embed.weight.view(V, K, H).transpose(0, 1).reshape(K * V, H)
        x = contexts(F.one_hot(ids, V).float()).flatten(2) @ matrix
    elif c.variant == "embedding":
        x = contexts(model.embed(ids)).flatten(2) @ model.maps.weight.view(K, H, D).transpose(1, 2).reshape(K * D, H)
    else:
        filters = model.convolution.filters.squeeze(1).flip(0).T.unsqueeze(1)  # (D, 1, K), oldest first
        x = F.conv1d(F.pad(model.embed(ids).mT, (K - 1, 0)), filters, groups=D).mT @ model.pointwise.weight.T
    x = F.silu(x + model.bias)
    for layer in model.layers:
        x = F.silu(layer(x))
    return model.head(x)


def gradients(scalar, model):
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(scalar, list(model.parameters())), strict=True))


@pytest.mark.parametrize("chunk", [4, 64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_and_gradients_are_those_of_the_literal_form(variant, chunk):
    model, ids = build(variant, chunk=chunk), draw(3, 11)
    ours, theirs = model(ids), literal(model, ids)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    torch.testing.assert_close(gradients((ours * weight).sum(), model), gradients((theirs * weight).sum(), model), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4, 11])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_in_chunks_is_the_loss(variant, chunk):
    model, ids, targets = build(variant, chunk=chunk), draw(3, 11), draw(3, 12)[:, 1:].clone()
    targets[0, :5] = -100
    targets[:, 8:] = -100  # a chunk without a target
    loss, whole = model.loss(ids, targets), F.cross_entropy(literal(model, ids).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradients(loss, model), gradients(whole, model), atol=1e-5, rtol=1e-5)


def test_a_chunk_computed_again_drops_the_same_units():
    model, ids, hidden = build(dropout=0.5, chunk=2), draw(2, 8), []
    model.head.register_forward_hook(lambda module, args, output: hidden.append(args[0].detach()))
    model.loss(ids, ids).backward()
    assert len(hidden) == 8
    assert all(torch.equal(first, again) for first, again in zip(hidden[:4], reversed(hidden[4:]), strict=True))  # gradients go backwards
    assert not torch.equal(hidden[0] == 0, hidden[1] == 0)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        self.elements = max([self.elements, *(tensor.numel() for tensor in torch.utils._pytree.tree_leaves(out) if isinstance(tensor, torch.Tensor))])
        return out


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("T", [64, 512])
def test_training_needs_the_memory_of_a_chunk_whatever_the_length(variant, T):
    """No tensor is larger than a chunk's logits, and nothing of a chunk is kept until its gradient. `python -m benchmarks kgram` has the MB."""
    many, chunk, kept = 300, 16, []  # kept: what the backward pass gets, beside the ids
    model, ids = build(variant, many, chunk=chunk), draw(2, T, many)

    def keep(tensor):
        kept.append(tensor.numel() * tensor.is_floating_point())
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.loss(ids, ids).backward()
    assert largest.elements == max(2 * chunk * many, model.embed.weight.numel())
    assert sum(kept) == 0


def test_a_state_is_the_last_tokens():
    model, ids = build(), draw(2, 9)
    state = model.empty_state(2, 9)
    model(ids[:, :1], state=state)
    assert state.last.tolist() == ids[:, :1].tolist()
    model(ids[:, 1:], state=state)
    assert (state.last.tolist(), state.position) == (ids[:, -2:].tolist(), 9)


@pytest.mark.parametrize(
    ("variant", "taken"),
    [("onehot", set()), ("embedding", {"maps.weight"}), ("convolution", {"pointwise.weight"})],
)
def test_muon_takes_inner_matrices_and_no_table(variant, taken):
    model = build(variant)
    muon, tables, *_ = optimizers.build(model, Recipe(steps=1, optimizer="muon")).param_groups
    assert isinstance(muon["rule"], Muon)
    members = {id(parameter) for parameter in muon["params"]}
    assert {name for name, parameter in model.named_parameters() if id(parameter) in members} == taken | {"layers.0.weight", "layers.1.weight"}
    assert isinstance(tables["rule"], optimizers.AdamW)
    assert id(model.embed.weight) in {id(parameter) for parameter in tables["params"]}


@pytest.mark.parametrize(
    ("variant", "first"),
    [("onehot", V * K * H), ("embedding", V * D + D * K * H), ("convolution", V * D + K * D + D * H)],
)
def test_the_number_of_parameters(variant, first):
    assert build(variant, n_layer=3).n_parameters == first + H + 3 * (H * H + H) + H * V + V


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("k", [1, 2, 16])
def test_what_the_first_layer_adds_up_has_the_size_of_one_whatever_k(variant, k):
    torch.manual_seed(0)
    model = Model(Config(variant=variant, k=k, d_model=64, d_hidden=256), 1000)
    assert 0.8 < float(model._first(draw(4, 64, 1000))[:, k:].std()) < 1.2


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"k": 0}, r"^model\.k: must be at least 1, not 0"),
        ({"chunk": 0}, r"^model\.chunk: must be at least 1"),
        ({"n_layer": 0}, r"^model\.n_layer: must be at least 1"),
        ({"dropout": 1.0}, r"^model\.dropout: must be in \[0, 1\)"),
        ({"variant": "conv"}, r"^model\.variant: input should be 'onehot', 'embedding' or 'convolution'"),
        ({"activation": "swiglu"}, r"^model\.activation: input should be 'silu', 'gelu' or 'relu'"),
        ({"n_head": 2}, r"^model\.n_head: unknown parameter"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(block, message):
    with pytest.raises(UserError, match=message):
        parse(Config, {"kind": "kgram", **block}, "model")
