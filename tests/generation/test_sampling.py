"""Every filter against its counterpart in transformers, on random logits and where the two could differ."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as hf

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.generation import sampling
from picollm.generation.sampling import GREEDY, Sampling, choose, warp

EXAMPLES = settings(max_examples=60)
B, V = 3, 40
NONE = torch.zeros(B, 0, dtype=torch.long)


def logits(seed, vocabulary=V):
    return 3 * torch.randn(B, vocabulary, generator=torch.Generator().manual_seed(seed))


def ids(seed):
    return torch.randint(0, V, (B, 12), generator=torch.Generator().manual_seed(seed))


@EXAMPLES
@given(st.integers(0, 10**6), st.integers(1, 2 * V))
def test_top_k(seed, k):
    assert torch.equal(sampling.keep_top_k(logits(seed), k), hf.TopKLogitsWarper(k)(None, logits(seed)))


@EXAMPLES
@given(st.integers(0, 10**6), st.floats(0.01, 0.999))
def test_top_p(seed, p):
    assert torch.equal(sampling.keep_top_p(logits(seed), p), hf.TopPLogitsWarper(p)(None, logits(seed)))


@EXAMPLES
@given(st.integers(0, 10**6), st.floats(0.001, 1))
def test_min_p(seed, p):
    assert torch.equal(sampling.keep_min_p(logits(seed), p), hf.MinPLogitsWarper(p)(None, logits(seed)))


@EXAMPLES
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_repetition_penalty(seed, penalty):
    expected = hf.RepetitionPenaltyLogitsProcessor(penalty)(ids(seed), logits(seed))
    assert torch.equal(sampling.penalise(logits(seed), ids(seed), penalty), expected)


def test_all_together_in_the_order_of_transformers():
    chain = [hf.RepetitionPenaltyLogitsProcessor(1.3), hf.TemperatureLogitsWarper(0.7), hf.TopKLogitsWarper(12), hf.TopPLogitsWarper(0.8)]
    expected = hf.LogitsProcessorList([*chain, hf.MinPLogitsWarper(0.1)])(ids(1), logits(1))
    assert torch.equal(warp(logits(1), Sampling(0.7, 12, 0.8, 0.1, 1.3), ids(1)), expected)


def test_everything_stays_at_p_1_however_small_a_probability_is():
    tail = torch.linspace(0, -80, 5000)[None]
    assert torch.equal(sampling.keep_top_p(tail, 1.0), tail)


def test_ties():
    equal = torch.zeros(1, 4)
    assert sampling.keep_top_k(equal, 2).isfinite().all(), "what ties with the k-th stays, as in transformers"
    assert hf.TopKLogitsWarper(2)(None, equal).isfinite().all()
    kept = sampling.keep_top_p(equal, 0.5).isfinite()
    assert kept.tolist() == [[True, True, False, False]], "the lower ids; transformers keeps as many, the higher ones"
    assert hf.TopPLogitsWarper(0.5)(None, equal).isfinite().sum() == 2
    assert sampling.keep_min_p(equal, 1.0).isfinite().all()


@pytest.mark.parametrize("options", [{"top_p": 1e-9}, {"top_k": 1}, {"min_p": 1.0}, {"temperature": 1e-6}])
def test_what_leaves_one_token_is_greedy(options):
    for seed in range(5):
        uniform = torch.rand(B, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert torch.equal(choose(logits(seed), Sampling(**options), NONE, uniform), choose(logits(seed), GREEDY, NONE, uniform))


@EXAMPLES
@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_nothing_that_is_excluded_is_drawn(seed, u):
    chosen = choose(logits(seed), Sampling(top_p=0.3), NONE, torch.full((B,), u, dtype=torch.float64))
    assert sampling.keep_top_p(logits(seed), 0.3).gather(1, chosen[:, None]).isfinite().all()


def test_draws_follow_the_probabilities():
    row, n = logits(0)[:1], 20_000
    uniform = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn = choose(row.expand(n, -1), Sampling(temperature=2.0), torch.zeros(n, 0, dtype=torch.long), uniform)
    assert torch.allclose(drawn.bincount(minlength=V) / n, (row / 2).softmax(-1)[0], atol=2 / n)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_p": 0}, "sample.top_p: must be in (0, 1], not 0.0"),
        ({"top_p": 1.5}, "sample.top_p: must be in (0, 1], not 1.5"),
        ({"min_p": 0}, "sample.min_p: must be in (0, 1], not 0.0"),
        ({"min_p": -0.1}, "sample.min_p: must be in (0, 1], not -0.1"),
        ({"repetition_penalty": 0}, "sample.repetition_penalty: must be above 0 (1 is none), not 0.0"),
        ({"repetition_penalty": -1}, "sample.repetition_penalty: must be above 0 (1 is none), not -1.0"),
        ({"top_k": 0}, "sample.top_k: must be at least 1, not 0"),
        ({"temperature": -1}, "sample.temperature: must be 0 (greedy) or at least 1e-06, not -1.0"),
    ],
)
def test_options_that_mean_nothing_are_refused_in_one_line(options, message):
    with pytest.raises(UserError) as caught:
        parse(Sampling, options, "sample")
    assert str(caught.value) == message
