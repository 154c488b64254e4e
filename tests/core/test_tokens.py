"""Token files: what was written comes back, and what is damaged or foreign is named."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens, write_header, write_split


def write(folder, splits, vocab_size=100, row_length=None):
    """{"train": [chunk, ...], ...} to an opened folder."""
    entries = {name: write_split(folder, name, [np.array(chunk, np.int64) for chunk in chunks], vocab_size, row_length) for name, chunks in splits.items()}
    write_header(folder, kind="text", vocab_size=vocab_size, tokenizer={"kind": "chars"}, splits=entries, corpus="fables")
    return open_tokens(folder)


@given(vocab_size=st.sampled_from([2, 256, 1 << 16, (1 << 16) + 1, 200_000]), data=st.data())
def test_a_stream_comes_back_from_any_chunks(tmp_path_factory, vocab_size, data):
    chunks = data.draw(st.lists(st.lists(st.integers(0, vocab_size - 1), max_size=20), max_size=6))
    tokens = write(tmp_path_factory.mktemp("tokens"), {"train": chunks}, vocab_size)
    ids = tokens.split("train")
    assert ids.tolist() == [id_ for chunk in chunks for id_ in chunk]
    assert ids.dtype.itemsize == (2 if vocab_size <= 1 << 16 else 4)
    assert tokens.vocab_size == vocab_size
    assert tokens.header["splits"]["train"]["sha256"] == hashlib.sha256(ids.tobytes()).hexdigest()


@given(rows=st.lists(st.lists(st.integers(0, 99), min_size=3, max_size=3), max_size=10))
def test_rows_come_back_as_rows(tmp_path_factory, rows):
    tokens = write(tmp_path_factory.mktemp("tokens"), {"train": [rows[:4], rows[4:]]}, row_length=3)
    assert tokens.split("train").shape == (len(rows), 3)
    assert tokens.split("train").tolist() == rows


def test_a_split_is_mapped_and_not_writable(tmp_path):
    ids = write(tmp_path, {"train": [[1, 2, 3]]}).split("train")
    assert isinstance(ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 5


def test_chunks_are_taken_one_at_a_time(tmp_path):
    """A corpus larger than memory goes through: a chunk is asked for when the one before is written."""
    sizes = []

    def chunks():
        for _ in range(3):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield np.zeros(100_000, np.int64)

    write_split(tmp_path, "train", chunks(), 10)
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("outside", [-1, 100, 70_000])
def test_an_id_outside_the_vocabulary_is_a_user_error_and_leaves_no_file(tmp_path, outside):
    with pytest.raises(UserError, match=r"split train has an id outside the vocabulary of 100"):
        write_split(tmp_path, "train", [np.array([1, 2]), np.array([5, outside])], 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0\0", lambda data: b""], ids=["truncated", "longer", "empty"])
def test_a_split_of_another_size_is_a_user_error(tmp_path, change):
    tokens = write(tmp_path, {"train": [[1, 2, 3]]})
    path = tmp_path / "train.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"train\.bin: \d+ bytes where the header says 6: truncated or foreign; remove"):
        tokens.split("train")


def test_a_split_of_the_same_size_but_other_ids_is_a_user_error(tmp_path):
    write(tmp_path, {"train": [[1, 2, 3]]})
    path = tmp_path / "train.bin"
    path.write_bytes(b"\1\0\2\0\xff\xff")
    with pytest.raises(UserError, match=r"train\.bin: is not the file that its header describes: damaged or foreign; remove"):
        open_tokens(tmp_path).split("train")


def test_a_split_that_vanished_or_never_was_is_a_user_error(tmp_path):
    tokens = write(tmp_path, {"train": [[1]], "test": [[2]]})
    (tmp_path / "train.bin").unlink()
    with pytest.raises(UserError, match=r"train\.bin: 0 bytes where the header says 2"):
        tokens.split("train")
    with pytest.raises(UserError, match=r"has no split 'validation' \(it has test, train\)"):
        tokens.split("validation")


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 99, "splits": {}}', '{"format": 1}', '{"format": 1, "splits": {}}'])
def test_a_foreign_header_is_a_user_error(tmp_path, content):
    (tmp_path / "header.json").write_text(content)
    with pytest.raises(UserError, match=r"header\.json: not a token header of format 1; remove"):
        open_tokens(tmp_path)


def test_a_missing_folder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_tokens(tmp_path / "nothing")


def test_the_digest_follows_the_ids_of_every_split_and_nothing_else(tmp_path):
    def digest(name, splits):
        return write(tmp_path / name, splits).digest

    base = digest("a", {"train": [[1, 2, 3]], "test": [[4]]})
    assert digest("b", {"test": [[4]], "train": [[1], [2, 3]]}) == base
    assert digest("c", {"train": [[1, 2, 3]], "test": [[5]]}) != base
    assert digest("d", {"train": [[4]], "test": [[1, 2, 3]]}) != base


def test_the_same_tokens_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, {"train": [[1, 2, 3]]})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
