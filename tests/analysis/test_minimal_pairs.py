"""Preferences are those of the evaluation; bigrams are counted right; ties are wrong; what bigrams know too is not claimed."""

from collections.abc import Callable
from dataclasses import replace
from math import comb, log
from pathlib import Path

import numpy as np
import pytest

from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.minimal_pairs import _claims, _estimate, analyse, bigram_costs, costs, prefers
from picollm.evaluation.text import _pairs
from picollm.tasks.text.fables.grammar import CATEGORIES


def test_the_shares_are_those_of_the_evaluation(tell: Callable[..., Subject]) -> None:
    subject = tell(n_layer=1)
    result = analyse(subject)
    assert isinstance(result, Result)
    wanted = _pairs(subject.model, subject.tokens, subject.raw / "pairs.json", 10_000)["categories"]
    assert set(result.metrics) == {"all", *CATEGORIES} == {"all", *wanted}
    for name, own in wanted.items():
        assert result.metrics[name]["value"] == pytest.approx(own["accuracy"])
        assert result.metrics[name]["n"] == own["pairs"]
    assert {"value", "n", "low", "high", "untrained", "bigram", "bigram_p"} <= set(result.metrics["all"])
    assert sum(row["n"] for row in result.tables[""]) == result.metrics["all"]["n"]
    for claim in result.claims:
        claim.filled(result.metrics)


def test_models_without_taps_are_asked_too(tell: Callable[..., Subject]) -> None:
    result = analyse(tell(kind="kgram", d_model=8, k=2))
    assert isinstance(result, Result)
    assert result.metrics["all"]["n"] == 40


def test_pairs_beyond_the_context_are_left_out(tell: Callable[..., Subject]) -> None:
    whole = analyse(tell(n_layer=1))
    short = analyse(tell(n_layer=1, positions="learned", block_size=80))
    assert isinstance(whole, Result)
    assert isinstance(short, Result)
    left_out = short.tables["left_out"][0]
    assert left_out["why"] == "longer than 80 tokens"
    assert left_out["pairs"] + short.metrics["all"]["n"] == whole.metrics["all"]["n"]
    assert analyse(tell(n_layer=1, positions="learned", block_size=4)) == Skip("no pair fits into a context of 4 tokens")


def test_the_context_of_training_is_what_pairs_must_fit_into(tell: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    subject = tell({"untrained": 1}, n_layer=1)
    trained = replace(subject, checkpoint=saved("seed0", subject.model, context=70))
    result = analyse(trained)
    assert isinstance(result, Result)
    assert result.tables["left_out"][0]["why"] == "longer than 70 tokens"


def test_bigrams_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    V, end = 5, 4
    train = np.array([4, 0, 1, 0, 1, 2, 4], np.uint16)  # 4>0 0>1 1>0 0>1 1>2 2>4
    texts = [np.array([0, 1], np.uint32), np.array([0, 3], np.uint32)]
    wanted = [-log(1.2 / 2) - log(2.2 / 3), -log(1.2 / 2) - log(0.2 / 3)]
    assert bigram_costs(train, texts, end, V) == pytest.approx(wanted)
    monkeypatch.setattr("picollm.analysis.minimal_pairs.CHUNK", 2)
    assert bigram_costs(train, texts, end, V) == pytest.approx(wanted)


def test_what_costs_the_same_is_a_tie_and_wrong() -> None:
    """Texts of the same neighbours in another order, and a model with equal logits."""
    train = np.array([3, 0, 1, 0, 2, 0, 1, 3])
    same = [np.array([0, 1, 0, 2, 0]), np.array([0, 2, 0, 1, 0])]
    assert prefers(bigram_costs(train, same, 3, 4)).tolist() == [False]
    assert prefers(np.array([1.0, 2.0, 2.0, 1.0, 3.0, 3.0])).tolist() == [True, False, False]


def test_a_silent_model_pays_the_same_for_every_token(tell: Callable[..., Subject]) -> None:
    subject = tell(n_layer=1)
    V = subject.model.vocab_size
    subject.model.embed.weight.data.zero_()
    texts = [np.arange(n, dtype=np.uint32) for n in (3, 7, 5, 7)]
    assert costs(subject.model, texts, V - 1) == pytest.approx([n * log(V) for n in (3, 7, 5, 7)], rel=1e-5)


def test_exact_interval_and_paired_test_by_hand() -> None:
    hits = np.array([True] * 9 + [False])
    neighbours = np.array([True] * 3 + [False] * 6 + [True])
    found = _estimate(hits, neighbours, np.array([0.4, 0.5, 0.7]))
    assert (found["value"], found["bigram"]) == (0.9, 0.4)
    assert found["bigram_p"] == pytest.approx(sum(comb(7, k) for k in (6, 7)) / 2**7)  # 6 of the 7 pairs in which they differ
    assert found["low"] == pytest.approx(0.554984, abs=1e-5)  # Clopper & Pearson of 9 in 10
    assert found["high"] == pytest.approx(0.997471, abs=1e-5)
    assert _estimate(neighbours, hits, np.array([0.5]))["bigram_p"] == pytest.approx(1 - 1 / 2**7)


def test_what_bigrams_know_is_not_claimed() -> None:
    no, all_, some = np.zeros(100, bool), np.ones(100, bool), np.arange(100) < 90
    null = np.array([0.5])
    text = [claim.text for claim in _claims({"a": _estimate(all_, no, null), "b": _estimate(some, all_, null), "c": _estimate(~some, no, null)})]
    assert "not found" not in text[0]
    assert text[1].endswith("more than bigrams know was tested for and not found.")
    assert text[2].endswith("no more than half, tested and not found.")


def test_a_text_without_pairs_is_skipped(make: Callable[..., Subject]) -> None:
    assert analyse(make("text")) == Skip("there are minimal pairs of fables alone")
    assert analyse(make()) == Skip("there are minimal pairs of fables alone")
