"""Generation: what a row writes depends on its prompt and its seed alone, and is what the whole sequence at once would say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm import models
from picollm.core.errors import UserError
from picollm.generation.generate import generate
from picollm.generation.sampling import GREEDY, Sampling

V = 23
KINDS = {
    "softmax": {"kind": "transformer", "d_model": 32, "n_head": 4, "n_layer": 2},
    "linear": {"kind": "transformer", "attention": "linear", "d_model": 32, "n_head": 4, "n_layer": 2},
    "lstm": {"kind": "lstm", "d_model": 32},
}
PROMPTS = [[1, 2, 3], [4], [5, 6, 7], [8, 9], [1, 2, 3]]


def build(kind="softmax", **options):
    torch.manual_seed(0)
    model = models.build({**KINDS[kind], **options}, V, "model").eval()
    for weight in model.parameters():  # away from the uniform beginning
        weight.data *= 4
    return model


MODELS = {kind: build(kind) for kind in KINDS}


@settings(max_examples=25)
@given(st.sampled_from(sorted(MODELS)), st.permutations(range(len(PROMPTS))), st.sampled_from([0.5, 0.9, None]))
def test_a_row_is_the_same_alone_and_in_any_batch(kind, order, p):
    model, sampling = MODELS[kind], Sampling(top_p=p)
    together = generate(model, [PROMPTS[row] for row in order], 12, sampling, [100 + row for row in order])
    for row, found in zip(order, together, strict=True):
        (alone,) = generate(model, [PROMPTS[row]], 12, sampling, [100 + row])
        assert found.ids == alone.ids
        assert found.nats == pytest.approx(alone.nats, abs=1e-4)


def test_seeds_and_settings_make_different_texts():
    def texts(sampling, seeds=range(8)):
        return [tuple(one.ids) for one in generate(MODELS["softmax"], [[1]] * len(seeds), 20, sampling, seeds)]

    assert len(set(texts(Sampling()))) == 8
    assert len(set(texts(GREEDY))) == 1
    assert len({tuple(texts(Sampling(top_p=p))) for p in (0.2, 0.5, 0.75, 0.8, 0.95, 1.0)}) == 6
    assert texts(Sampling(), [5] * 3) == [texts(Sampling(), [5])[0]] * 3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nats_are_those_of_the_model_without_filters(kind):
    found = generate(MODELS[kind], PROMPTS, 10, Sampling(temperature=0.5, top_p=0.8), range(5))
    for prompt, one in zip(PROMPTS, found, strict=True):
        whole = torch.tensor([prompt + one.ids])
        logs = MODELS[kind].logits(whole[:, :-1]).log_softmax(-1)[0, len(prompt) - 1 :]
        assert one.nats == pytest.approx((-logs.gather(1, whole[0, len(prompt) :, None])[:, 0]).tolist(), abs=1e-3)
        assert not one.stopped


def test_greedy_is_the_argmax_of_the_whole_sequence():
    (one,) = generate(MODELS["softmax"], [[3, 1]], 8, GREEDY, [0])
    whole = [3, 1]
    for token in one.ids:
        assert int(MODELS["softmax"].logits(torch.tensor([whole]))[0, -1].argmax()) == token
        whole.append(token)


def test_any_of_several_stop_tokens_ends_a_row_and_no_other():
    free = generate(MODELS["softmax"], PROMPTS, 12, Sampling(), range(5))
    stop = {free[0].ids[3], free[1].ids[5]}
    for before, one in zip(free, generate(MODELS["softmax"], PROMPTS, 12, Sampling(), range(5), stop), strict=True):
        end = next((place for place, token in enumerate(before.ids) if token in stop), None)
        assert one.stopped is (end is not None)
        assert one.ids == before.ids[:end]
        assert len(one.nats) == len(one.ids) + one.stopped


def test_under_a_penalty_less_is_said_again():
    free = generate(MODELS["softmax"], [[1]], 20, GREEDY, [0])[0].ids
    held = generate(MODELS["softmax"], [[1]], 20, Sampling(temperature=0, repetition_penalty=1e6), [0])[0].ids
    assert len(set(held)) > len(set(free))


def test_a_prompt_that_is_empty_or_too_long_is_refused():
    model = build(positions="learned", block_size=8)
    with pytest.raises(UserError, match=r"^prompt: is empty; give at least one token$"):
        generate(model, [[1], []], 3, GREEDY, [0, 0])
    assert len(generate(model, [[1, 2, 3, 4, 5]], 4, GREEDY, [0])[0].ids) == 4
    with pytest.raises(UserError, match=r"^prompt: 6 tokens and 4 new ones exceed the model's longest sequence of 8; shorten either$"):
        generate(model, [[1, 2, 3, 4, 5, 6]], 4, GREEDY, [0])
