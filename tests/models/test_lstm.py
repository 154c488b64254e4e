"""The recurrent model: its size, initial weights and configuration."""

import pytest
import torch

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.models.lstm import Config, Model

V, D = 17, 24


def build(**settings):
    torch.manual_seed(0)
    return Model(Config(**{"d_model": D, **settings}), V).eval()


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("n_layer", [1, 2])
@pytest.mark.parametrize("tied", [True, False])
def test_the_number_of_parameters(cell, gates, n_layer, tied):
    layer = gates * D * (D + D + 2)  # input and recurrent weights, with a bias each
    assert build(cell=cell, n_layer=n_layer, tie_embeddings=tied).n_parameters == n_layer * layer + V * D * (1 if tied else 2) + V


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell, gates):
    recurrent = build(cell=cell).rnn.weight_hh_l0
    for gate in recurrent.split(D):
        torch.testing.assert_close(gate @ gate.T, torch.eye(D), atol=1e-5, rtol=0)
    assert len(recurrent) == gates * D


def test_the_forget_gate_of_an_lstm_starts_open():
    rnn = build(n_layer=2).rnn
    for layer in range(2):
        bias = getattr(rnn, f"bias_ih_l{layer}") + getattr(rnn, f"bias_hh_l{layer}")
        assert bias.split(D)[1].tolist() == [1.0] * D  # PyTorch's order: input, forget, cell, output
        assert bias.sum() == D


@torch.no_grad()
def test_the_cell_is_the_textbook_lstm():
    model, ids = build(), torch.tensor([[3, 1, 4]])
    hidden, cell = torch.zeros(D), torch.zeros(D)
    for token in ids[0]:
        gates = model.rnn.weight_ih_l0 @ model.embed.weight[token] + model.rnn.weight_hh_l0 @ hidden + model.rnn.bias_ih_l0 + model.rnn.bias_hh_l0
        entry, forget, value, exit_ = gates.split(D)
        cell = forget.sigmoid() * cell + entry.sigmoid() * value.tanh()
        hidden = exit_.sigmoid() * cell.tanh()
    torch.testing.assert_close(model(ids)[0, -1], model.head.weight @ hidden + model.head.bias)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"n_layer": 0}, r"^model\.n_layer: must be at least 1"),
        ({"dropout": -0.1}, r"^model\.dropout: must be in \[0, 1\)"),
        ({"cell": "rnn"}, r"^model\.cell: input should be 'lstm' or 'gru'"),
        ({"n_head": 2}, r"^model\.n_head: unknown parameter"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(block, message):
    with pytest.raises(UserError, match=message):
        parse(Config, {"kind": "lstm", **block}, "model")
