"""Files: whole or not there, the same bytes for the same value."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.core.files import atomic, read_json, read_record, sha256, write_csv, write_json, write_record, write_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=values)
def test_json_comes_back_and_is_the_same_bytes_again(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    first = path.read_bytes()
    assert read_json(path) == value
    write_json(path, read_json(path))
    assert path.read_bytes() == first
    assert first.endswith(b"\n")


def test_the_order_of_keys_does_not_show(tmp_path):
    for name, value in (("a", {"x": 1, "y": {"p": 1, "q": 2}}), ("b", {"y": {"q": 2, "p": 1}, "x": 1})):
        write_json(tmp_path / name, value)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused_and_nothing_is_left(tmp_path, value):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "value.json", {"loss": value})
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_and_text_is_utf8(tmp_path):
    write_text(tmp_path / "deep" / "er" / "text", "naïve 🦊\n")
    assert (tmp_path / "deep" / "er" / "text").read_bytes() == "naïve 🦊\n".encode()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted():
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_text"])
def test_a_full_disk_is_a_user_error_and_leaves_what_was_there(tmp_path, monkeypatch, call):
    def full(*_arguments, **_settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    write_text(path, "old")
    monkeypatch.setattr(call, full)
    with pytest.raises(UserError, match=r"file: could not be written \(No space left on device\); free some space"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_csv_has_the_columns_asked_for(tmp_path):
    rows = [{"step": 1, "loss": 0.5, "seconds": 3}, {"step": 2, "note": 'a, "b"\nc'}]
    write_csv(tmp_path / "curve.csv", ("step", "loss", "note"), rows)
    assert (tmp_path / "curve.csv").read_bytes() == b'step,loss,note\n1,0.5,\n2,,"a, ""b""\nc"\n'


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"{'a': 1}"])
def test_a_file_that_is_no_json_is_a_user_error(tmp_path, content):
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(UserError, match=r"value\.json: is not JSON .* run the stage that makes it again"):
        read_json(tmp_path / "value.json")


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"value\.json: no such file; run the stage that makes it"):
        read_json(tmp_path / "value.json")


def test_a_record_comes_back_and_none_is_empty(tmp_path):
    path = tmp_path / "record.json"
    assert read_record(path) == {}
    write_record(path, {"loss": 0.5})
    assert read_json(path) == [{"loss": 0.5}]
    assert read_record(path) == {"loss": 0.5}
    write_json(path, {"loss": 0.25})
    assert read_record(path) == {"loss": 0.25}, "as revisions of before have it"


@pytest.mark.parametrize("other", [[], [{}, {}], 1])
def test_what_is_no_record_is_a_user_error(tmp_path, other):
    write_json(tmp_path / "record.json", other)
    with pytest.raises(UserError, match=r"record\.json: is no record of a stage; remove it"):
        read_record(tmp_path / "record.json")


def test_the_hash_is_that_of_sha256sum(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
