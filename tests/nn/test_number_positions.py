"""Position ids of numbers: the published examples, equal significance in either order, and one step at a time as in one go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm import models
from picollm.core.errors import UserError
from picollm.nn.decoder import attention_matrices
from picollm.nn.number_positions import block_ids, coupled_ids

PLUS, PAD = 10, 11


def ids(text):
    return torch.tensor([[{"+": PLUS, "P": PAD}.get(c) if c in "+P" else int(c) for c in text]])


def spelled(places):
    return "".join(str(place) for place in places[0].tolist())


def build(**options):
    torch.manual_seed(0)
    return models.build({"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 8, "positions": "learned", **options}, 12, "model")


@pytest.mark.parametrize(("text", "expected"), [("+1342+879+2221+", "012340123012340"), ("+12+873+993+PPPP", "0120123012300000")])
def test_block_ids_of_the_examples(text, expected):
    assert spelled(block_ids(ids(text), 10)) == expected
    assert spelled(coupled_ids(ids(text), 10, "reversed", 2)) == expected


def test_in_plain_order_coupled_ids_count_from_the_units_and_an_answer_is_one_longer():
    assert spelled(coupled_ids(ids("+1342+879+02221+"), 10, "plain", 2)) == "0432103210543210"
    assert spelled(coupled_ids(ids("+1342+879+02"), 10, "plain", 2)) == "043210321054"  # known before it is written
    assert spelled(coupled_ids(ids("+5+17+1+023+"), 10, "plain", 3)) == "010210103210"


@settings(max_examples=40)
@given(numbers=st.lists(st.text("0123456789", min_size=1, max_size=6), min_size=2, max_size=2), digit=st.integers(1, 6))
def test_equal_significance_has_equal_ids_in_either_order(numbers, digit):
    answer = str(sum(map(int, numbers))).zfill(max(map(len, numbers)) + 1)
    plain = "+" + "+".join([*numbers, answer]) + "+"
    back = "+" + "+".join(number[::-1] for number in [*numbers, answer]) + "+"
    one, other = coupled_ids(ids(plain), 10, "plain", 2)[0], coupled_ids(ids(back), 10, "reversed", 2)[0]
    for start in [i for i, c in enumerate(plain[:-1]) if c == "+"]:
        end = plain.index("+", start + 1)
        assert one[start + 1 : end].tolist() == other[start + 1 : end].flip(0).tolist()


@pytest.mark.parametrize(
    "options", [{"position_ids": "block"}, {"position_ids": "block", "positions": "sinusoidal"}, {"position_ids": "coupled", "positions": "rope"}]
)
def test_token_by_token_gives_the_logits_of_one_pass(options):
    model, row = build(**options).eval(), ids("+1342+879+2221+")
    state = model.empty_state(1, row.shape[1])
    steps = torch.cat([model(row[:, i : i + 1], state=state) for i in range(row.shape[1])], 1)
    torch.testing.assert_close(steps, model(row))


def test_offsets_move_the_digits_in_training_alone():
    model, row = build(position_ids="block", position_offset=50, block_size=64), ids("+1342+879+2221+")
    assert torch.equal(model.eval()(row), model(row))
    model.train()
    drawn = {round(float(model(row).sum().detach()), 5) for _ in range(20)}
    assert len(drawn) > 5
    with torch.no_grad():
        model.positions.weight[1:] = model.positions.weight[1]  # all digits alike: only the delimiter's row is another one
    assert len({round(float(model(row).sum().detach()), 5) for _ in range(10)}) == 1


def test_operands_of_equal_columns_may_be_swapped():
    model = build(position_ids="block").eval()
    torch.testing.assert_close(model(ids("+1342+8790+"))[:, -1], model(ids("+8342+1790+"))[:, -1])
    assert not torch.allclose(model(ids("+1342+8790+"))[:, -1], model(ids("+3142+8790+"))[:, -1])


@pytest.mark.parametrize("sinks", [False, True])
def test_a_window_of_columns_hides_all_others_and_makes_further_columns_no_new_situation(sinks):
    model = build(position_ids="block", positions="rope", column_window=1, sinks=sinks).eval()
    row = ids("+11111+22222+")
    changed = row.clone()
    changed[0, [4, 5, 10]] = 7  # columns 4 and 5 of the first number, 4 of the second
    torch.testing.assert_close(model(row)[:, 8], model(changed)[:, 8])  # column 2 sees 1 to 3
    assert not torch.allclose(model(row)[:, 9], model(changed)[:, 9])
    longer = ids("+1111111+2222222+")
    torch.testing.assert_close(model(row)[:, [9, 10]], model(longer)[:, [11, 14]])  # with equal columns around them, they are equal


@pytest.mark.parametrize("sinks", [False, True])
def test_weights_of_a_window_are_those_that_were_applied(sinks):
    model, row = build(position_ids="block", positions="learned", column_window=2, sinks=sinks).eval(), ids("+135+246+")
    weights = attention_matrices(model, row)[0, 0]
    assert ((weights.sum(-1) - 1).abs().max() < 1e-6) == (not sinks)
    places = model.position_ids(row)[0]
    hidden = (places[:, None] - places[None, :]).abs() > 2
    assert (weights[:, hidden] == 0).all()
    block, x = model.blocks[0], model.embed(row) + model.positions(model.position_ids(row))
    qkv = block.attention.qkv(block.norm_attention(x))
    v = qkv[..., 16:].view(1, 9, 2, 4).transpose(1, 2)
    by_hand = x + block.attention.out((weights[None] @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(model.head(model.norm(by_hand + block.mlp(block.norm_mlp(by_hand)))), model(row))


def test_a_number_longer_than_the_table_is_named():
    with pytest.raises(UserError, match=r"block_size: .* a number has 4 digits"):
        build(position_ids="block", block_size=4)(ids("+1342+"))


def test_loops_share_their_weights_and_inject_the_input():
    once, twice = build(n_layer=2), build(n_layer=2, loops=2)
    assert once.n_parameters == twice.n_parameters
    twice.load_state_dict(once.state_dict())
    row = ids("+1342+879+")
    assert not torch.allclose(once(row), twice(row))
    for injection in (False, True):
        model = build(n_layer=2, loops=2, input_injection=injection).eval()
        x = embedded = model.embed(row) + model.positions.weight[: row.shape[1]]
        for layer, block in enumerate([*model.blocks, *model.blocks]):
            x = block(x + embedded if layer and injection else x, lambda site, value: value, "", None, 0)
        torch.testing.assert_close(model.head(model.norm(x)), model(row))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position_ids": "block", "positions": "alibi"}, r"model\.position_ids: .* take learned, sinusoidal or rope"),
        ({"position_offset": 3}, r"model\.position_offset: 3 is for block and coupled ids"),
        ({"column_window": 2}, r"model\.column_window: 2 columns of block or coupled ids"),
        ({"column_window": 2, "position_ids": "block", "sliding_window": 4}, r"model\.column_window: is for softmax attention without"),
        ({"loops": 0}, r"model\.loops: must be at least 1"),
        ({"n_layer": 4, "loops": 3}, r"model\.n_layer: 12 blocks"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)
