"""Cutting long texts into pieces, and documents into splits."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.tasks.text import documents, hub
from picollm.tokenizers.gpt2 import Tokenizer

GPT2 = Tokenizer.train([], None)

words = st.lists(st.sampled_from(["the", "fox", "'s", "can't", "1000", "...", " ", "\n", "\n\n", "  ", " a", "\t", "\r\n", "é"]), max_size=60).map("".join)


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(1, 20))
def test_pieces_are_the_text_whatever_the_blocks(blocks, limit):
    cut = list(documents.pieces(blocks, limit))
    assert "".join(cut) == "".join(blocks)
    assert all(0 < len(piece) <= limit for piece in cut)


@given(words, st.integers(20, 60))
def test_a_cut_between_words_changes_no_token(text, limit):
    cut = list(documents.pieces([text], limit))
    between_words = all(a[-1].strip() and b[0] in " \n" and b[1:2].strip() for a, b in pairwise(cut))
    if between_words:
        assert [i for piece in cut for i in GPT2.encode(piece)] == GPT2.encode(text)


def test_a_long_text_is_cut_between_words():
    text = "one two\nthree  four " * 1000
    cut = list(documents.pieces([text], 5000))
    assert len(cut) >= 4
    assert all(piece[0] in " \n" for piece in cut[1:])
    assert [i for piece in cut for i in GPT2.encode(piece)] == GPT2.encode(text)


def test_shares_are_kept_and_a_text_stays_where_it_is():
    shares = {"validation": 0.2, "test": 0.1}
    splits = [documents.drawn(f"document {n}", shares, seed=0) for n in range(5000)]
    assert abs(splits.count("validation") / 5000 - 0.2) < 0.03
    assert abs(splits.count("test") / 5000 - 0.1) < 0.03
    assert splits == [documents.drawn(f"document {n}", shares, seed=0) for n in range(5000)]
    assert splits != [documents.drawn(f"document {n}", shares, seed=1) for n in range(5000)]
    assert documents.drawn("any", {}, seed=0) == "train"


def test_wikitext_lines_become_articles():
    lines = [" \n", " = Fox = \n", "", " A fox . \n", " = = Tail = = \n", " = 2 x = 4 \n", " = Boat ( 1912 ) = \n", " Blue . \n"]
    assert list(hub.articles(lines)) == [" \n = Fox = \n A fox . \n = = Tail = = \n = 2 x = 4 \n", " = Boat ( 1912 ) = \n Blue . \n"]
    assert list(hub.articles([])) == []


@pytest.mark.skipif("PICOLLM_TEXT_DIR" not in os.environ, reason="needs the folder PICOLLM_TEXT_DIR")
def test_the_validation_split_of_wikitext_2_has_its_60_articles():
    lines = Path(os.environ["PICOLLM_TEXT_DIR"], "wikitext2-valid.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    articles = list(hub.articles(lines))
    assert len(articles) == 60
    assert "".join(articles) == "".join(lines)
