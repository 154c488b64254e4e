"""Measures of texts whose values are known by hand, and what holds for any texts."""

from collections import Counter
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.generation import copies as copies_
from picollm.generation.copies import copies
from picollm.generation.judge import judge
from picollm.generation.measures import distinct, ngrams, repetition, self_bleu
from picollm.tasks.text import fables

EXAMPLES = settings(max_examples=150)
TEXT = st.lists(st.integers(0, 3), max_size=14)


def test_distinct():
    assert distinct([[1, 2, 1, 2], [1, 2]], 1) == 2 / 6
    assert distinct([[1, 2, 1, 2], [1, 2]], 2) == 2 / 4, "no n-gram reaches from one text into the next"
    assert distinct([[1, 2], [3]], 3) is None


def test_repetition():
    assert repetition([[1] * 8]) == 4 / 5, "of five 4-grams four are the first again"
    assert repetition([[1, 2, 3, 4, 5, 6]]) == 0
    assert repetition([[1] * 8, [1, 2, 3, 4, 5], [1, 2]]) == 2 / 5, "a text without a 4-gram does not count"
    assert repetition([[1, 2, 3]]) is None


def test_self_bleu():
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1)
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0
    # each: 4 of 5 tokens, 3 of 4, 2 of 3 and 1 of 2 n-grams match, and no brevity penalty
    assert self_bleu([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert self_bleu([[1, 2, 3, 4]]) is None


def literal_bleu(text, others):
    """Papineni et al., straight from the paper."""
    logs = []
    for n in (1, 2, 3, 4):
        own, theirs = Counter(ngrams(text, n)), [Counter(ngrams(other, n)) for other in others]
        matched = sum(min(count, max(other[ngram] for other in theirs)) for ngram, count in own.items())
        if not matched:
            return 0.0
        logs.append(log(matched / sum(own.values())))
    closest = min((abs(len(other) - len(text)), len(other)) for other in others)[1]
    return exp(sum(logs) / 4) * (1 if len(text) > closest else exp(1 - closest / len(text)))


@EXAMPLES
@given(st.lists(TEXT, min_size=2, max_size=5))
def test_self_bleu_is_the_mean_of_literal_ones(texts):
    expected = [literal_bleu(text, texts[:i] + texts[i + 1 :]) for i, text in enumerate(texts)]
    assert self_bleu(texts) == pytest.approx(sum(expected) / len(texts))


@EXAMPLES
@given(st.lists(TEXT, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_measures_are_shares_and_know_no_order_of_texts(texts, random):
    shuffled = random.sample(texts, len(texts))
    for measure in (lambda own: distinct(own, 2), repetition, self_bleu):
        value = measure(texts)
        assert value is None or 0 <= value <= 1 + 1e-12
        assert value == pytest.approx(measure(shuffled))


def test_copies():
    found = copies([[9, 1, 2, 3, 9], [7, 7], []], np.array([1, 2, 3, 4, 1, 2, 9], np.uint16))
    assert found.runs == [[1, 1, 2, 3, 1], [0, 0], []]
    assert found.longest() == [3, 0, 0]
    assert (found.share(1), found.share(2), found.share(3), found.share(6)) == (5 / 7, 2 / 5, 1 / 3, None)
    assert found.of(1, 2).longest() == [0]


@EXAMPLES
@given(st.lists(TEXT, max_size=4), st.lists(st.integers(0, 4), max_size=60), st.integers(1, 7))
def test_copies_are_those_that_a_search_finds(texts, training, chunk):
    copies_.CHUNK, before = chunk, copies_.CHUNK  # however the training data are cut
    try:
        found = copies(texts, np.array(training, np.uint16))
    finally:
        copies_.CHUNK = before
    held = {ngram for n in range(1, 15) for ngram in ngrams(training, n)}
    for text, runs in zip(texts, found.runs, strict=True):
        assert runs == [max((n for n in range(1, end + 1) if tuple(text[end - n : end]) in held), default=0) for end in range(1, len(text) + 1)]
    for n in (1, 2, 4):
        every = [ngram in held for text in texts for ngram in ngrams(text, n)]
        assert found.share(n) == (sum(every) / len(every) if every else None)


def test_the_judge_accepts_what_the_grammar_tells():
    for story in fables.stories(seed=7, start=0, count=5):
        verdict = judge(story.text)
        assert verdict.bits == pytest.approx(story.bits)
        assert verdict.read == 1


def test_the_judge_says_how_far_a_text_is_a_story():
    for story in fables.stories(seed=8, start=0, count=5):
        size = len(story.text)
        for place in (0, size // 3, size - 1):
            spoilt = judge(story.text[:place] + "#" + story.text[place + 1 :])
            assert spoilt.bits is None
            assert place - 40 < spoilt.read * size <= place, "up to the word, or the words in one piece, that it breaks"
        cut = judge(story.text[: size // 2])
        assert (cut.bits, cut.read) == (None, 1), "the beginning of a story"
    assert (judge("").bits, judge("").read) == (None, 0)
