"""Bytes as tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.tokenizers import _shared
from picollm.tokenizers.bytes import Tokenizer

TOKENIZER = Tokenizer.train([], None)


@given(st.text())
def test_ids_are_the_bytes_of_utf8_and_decoding_undoes_it(text):
    assert TOKENIZER.encode(text) == list(text.encode())
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_the_end_token_is_the_last_id_and_half_a_character_is_shown():
    assert (TOKENIZER.vocab_size, TOKENIZER.end) == (257, 256)
    assert TOKENIZER.decode([0xC3, 0xA9, 256, 0xC3]) == "é<|endoftext|>\ufffd"


def test_it_comes_back_from_json_text():
    assert _shared.from_json(json.loads(json.dumps(TOKENIZER.to_json()))).encode("é") == [0xC3, 0xA9]


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(UserError, match=r"^prompt: '\\ud800' is no character; give the text in UTF-8$"):
        TOKENIZER.encode("a\ud800b")
