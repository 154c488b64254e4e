"""Characters as tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.tokenizers import _shared, chars

texts = st.lists(st.text(), min_size=1)


@given(texts)
def test_decoding_undoes_encoding_of_the_training_text(parts):
    tokenizer = chars.Tokenizer.train(iter(parts), None)
    for text, ids in zip(parts, tokenizer.encode_batch(parts), strict=True):
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text) == ids.tolist()
        assert tokenizer.end not in ids


@given(texts)
def test_ids_follow_the_code_points_and_the_end_token_is_the_last(parts):
    tokenizer = chars.Tokenizer.train(parts, None)
    assert tokenizer.characters == "".join(sorted(set("".join(parts))))
    assert tokenizer.vocab_size == len(tokenizer.characters) + 1 == tokenizer.end + 1
    assert tokenizer.encode(tokenizer.characters) == list(range(tokenizer.end))


@given(texts, st.characters(exclude_categories=["Cs"]))
def test_a_character_outside_the_training_text_is_named(parts, character):
    tokenizer = chars.Tokenizer.train(parts, None)
    if character not in tokenizer.characters:
        for encode, parameter in ((tokenizer.encode, "prompt"), (lambda text: tokenizer.encode_batch([text]), r"tokenizer\.kind")):
            with pytest.raises(UserError, match=rf"^{parameter}: .*U\+{ord(character):04X}\).* take bpe or gpt2"):
                encode(tokenizer.characters + character)


def test_it_comes_back_from_a_folder_and_from_json_text(tmp_path):
    tokenizer = chars.Tokenizer.train(["b\na🦊"], None)
    tokenizer.save(tmp_path)
    for again in (_shared.load(tmp_path), _shared.from_json(json.loads(json.dumps(tokenizer.to_json())))):
        assert again.encode("ab🦊") == tokenizer.encode("ab🦊") == [1, 2, 3]
    assert tokenizer.decode([0, tokenizer.end]) == "\n<|endoftext|>"
