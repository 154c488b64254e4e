"""Where text comes from: files, folders, data sets; and what is said when it does not."""

import json
import math
import socket
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.tasks.text import config, hub, local, sources

CHARS = {"kind": "chars"}


def task(source, **block) -> config.Config:
    return parse(config.Config, {"kind": "text", "tokenizer": CHARS, "source": str(source), **block}, "tasks.t")


def read(source, **block) -> list:
    config = task(source, **block)
    return list(sources.documents(config, "tasks.t", config.splits))


def message(source, **block) -> str:
    with pytest.raises(UserError) as error:
        read(source, **block)
    assert "\n" not in str(error.value)
    return str(error.value)


def text_of(documents, split) -> str:
    return "".join(document.text for document in documents if document.split == split)


# One file


def test_a_file_is_cut_in_three_in_its_own_order(tmp_path):
    text = "".join(f"line {n} é\r\n" for n in range(1000))
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8", newline="")
    found = read(path, validation=0.2, test=0.1)
    train, validation, test = (text_of(found, split) for split in ("train", "validation", "test"))
    assert train + validation + test == text
    assert [len(train), len(validation)] == [int(len(text) * 0.7), int(len(text) * 0.9) - int(len(text) * 0.7)]
    assert not any(document.ends for document in found)


def test_without_test_the_cut_is_the_customary_one(tmp_path):
    text = "".join(chr(97 + n % 26) for n in range(11153))
    (tmp_path / "a.txt").write_text(text)
    found = read(tmp_path / "a.txt", validation=0.1, test=0)
    assert text_of(found, "train") == text[: int(len(text) * 0.9)]
    assert text_of(found, "validation") == text[int(len(text) * 0.9) :]


def test_a_large_file_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PIECE", 100)
    text = "Ein schöner Tag. " * 500
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    found = read(tmp_path / "a.txt")
    assert "".join(document.text for document in found) == text


@pytest.mark.parametrize("size", [0, 3, 99, 100, 101, 250])
def test_a_byte_that_is_not_utf8_is_located(tmp_path, monkeypatch, size):
    monkeypatch.setattr(local, "PIECE", 100)
    path = tmp_path / "a.txt"
    path.write_bytes(("é" * size).encode()[:size] + b"\xff and more")  # an odd size ends inside a character
    offset = size - size % 2
    assert message(path).startswith(f"{path}: is not UTF-8 at byte {offset}; convert it")


def test_a_missing_source_is_named_with_a_guess(tmp_path):
    assert message("tinystoriez").startswith("tasks.t.source: no such file or folder 'tinystoriez' (did you mean 'tinystories'?")
    assert message(tmp_path / "none.txt").startswith("tasks.t.source: no such file or folder ")


def test_a_relative_path_starts_at_the_main_checkout(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("some text")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert "".join(document.text for document in read("a.txt")) == "some text"


def test_a_limit_of_documents_is_refused_for_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert message(tmp_path / "a.txt", limit=3).startswith("tasks.t.limit: a single file is one document")


# A folder


def test_a_folder_gives_a_document_a_file(tmp_path):
    for n in range(200):
        path = tmp_path / f"{n % 3}" / f"{n}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"story {n}")
    (tmp_path / "note.md").write_text("no story")
    found = read(tmp_path, validation=0.3, test=0.2)
    assert sorted(document.text for document in found) == sorted(f"story {n}" for n in range(200))
    assert {document.split for document in found} == {"train", "validation", "test"}
    assert all(document.ends for document in found)
    assert found == read(tmp_path, validation=0.3, test=0.2)
    assert len(read(tmp_path, limit=7)) == 7


def test_a_folder_without_texts_is_refused(tmp_path):
    assert message(tmp_path).startswith(f"tasks.t.source: no *.txt below {tmp_path}; ")


def test_lines_are_documents_where_the_task_says_so(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_bytes(b"three\r\n \n  four  \n\n")
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "empty.txt").write_text("")
    found = read(tmp_path, lines=True)
    assert [document.text for document in found] == ["one", "two", "three", "  four"]
    assert all(document.ends for document in found)
    assert [document.text for document in read(tmp_path, lines=True, limit=3)] == ["one", "two", "three"]
    assert [document.text for document in read(tmp_path / "a.txt", lines=True, limit=1)] == ["one"]


@given(st.lists(st.text(alphabet="ab \n\r", max_size=9), max_size=9))
def test_lines_do_not_depend_on_how_a_text_is_read(blocks):
    assert list(local.lines_of(blocks)) == [line.rstrip() for line in "".join(blocks).split("\n") if line.strip()]


def test_a_share_is_drawn_by_hash_and_a_smaller_one_lies_within(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"line {n}\n" for n in range(2000)))
    small, large = ({document.text for document in read(tmp_path / "a.txt", lines=True, share=share)} for share in (0.2, 0.5))
    assert small < large
    assert abs(len(small) / 2000 - 0.2) < 0.03
    assert abs(len(large) / 2000 - 0.5) < 0.04
    assert message(tmp_path / "a.txt", share=0.5).startswith("tasks.t.share: a single file is one document; remove the parameter, or set lines: true")


# What comes with the package


def test_the_notebook_has_its_five_texts_line_by_line():
    found = read("notebook")
    assert len(found) == len({document.text for document in found}) == 182
    assert all(document.ends and len(document.text) > 15 for document in found)
    assert len(read("notebook", limit=60)) == 60
    assert len(list(sources.NOTEBOOK.glob("*.txt"))) == 5


def test_3seqs_are_three_families_of_lines_with_their_probability():
    found = read("3seqs", limit=600)
    assert found[0].text.startswith("0 1 2 3 4 5 6 7 8 9 10 ")
    kinds: dict[str, set[float]] = {"counting": set(), "steps": set(), "cycle": set()}
    for document in found:
        terms = [int(word) for word in document.text.split()]
        assert len(terms) == 32
        steps = {b - a for a, b in pairwise(terms)}
        kind = "cycle" if len(steps) > 1 else "counting" if steps == {1} else "steps"
        assert kind != "cycle" or (terms[:-3] == terms[3:] and len(set(terms)) == 3)
        kinds[kind].add(document.bits)
    assert kinds == {"counting": {math.log2(3000)}, "steps": {math.log2(24000)}, "cycle": {math.log2(3 * 100 * 99 * 98)}}
    assert found == read("3seqs") != read("3seqs", seed=1)
    assert read("3seqs", limit=3) == found[:3]


# Data sets


@pytest.fixture
def jsonl(tmp_path):
    for split, count in {"train": 50, "validation": 5}.items():
        rows = [{"text": f"{split} {n}", "story": f"told {n}", "number": n} for n in range(count)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"hub:{tmp_path}"


def test_a_data_set_keeps_its_own_validation_split(jsonl):
    found = read(jsonl, validation=0.3, test=0.3)
    assert [document.text for document in found if document.split == "validation"] == [f"validation {n}" for n in range(5)]
    tests = [document.text for document in found if document.split == "test"]
    assert 5 < len(tests) < 25  # it has none, so its training documents give some
    assert all(text.startswith("train") for text in tests)
    order = [document.split for document in found]
    assert "validation" not in order[order.index("train") :]


def test_limit_and_column_choose_from_a_data_set(jsonl):
    found = read(jsonl, limit=3, text_column="story", test=0)
    assert sorted(document.text for document in found) == ["told 0", "told 0", "told 1", "told 1", "told 2", "told 2"]


def test_parquet_is_read_too(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": [f"row {n}" for n in range(100)]}), tmp_path / "part.parquet")
    assert sorted(document.text for document in read(f"hub:{tmp_path}")) == sorted(f"row {n}" for n in range(100))


def test_a_column_that_is_missing_or_no_text_is_named(jsonl):
    assert message(jsonl, text_column="storry").startswith("tasks.t.text_column: 'storry' is no column of text (did you mean 'story'? known: story, text)")
    assert message(jsonl, text_column="number").startswith("tasks.t.text_column: 'number' is no column of text")


def test_rows_may_be_cut_into_lines_and_a_share_leaves_the_held_out_splits_whole(tmp_path):
    for split, count in {"train": 400, "validation": 5}.items():
        rows = [{"text": f"{split} {n}\nsecond {split} {n}\n"} for n in range(count)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(f"hub:{tmp_path}", lines=True, share=0.2, test=0)
    assert sum(document.split == "validation" for document in found) == 10
    assert 100 < sum(document.split == "train" for document in found) < 220
    assert len(read(f"hub:{tmp_path}", lines=True, limit=7, test=0)) == 14


def test_only_what_is_wanted_of_a_data_set_is_read(jsonl):
    config = task(jsonl, test=0)
    assert {document.split for document in sources.documents(config, "tasks.t", ["validation"])} == {"validation"}
    assert len(list(sources.documents(config, "tasks.t", ["train"]))) == 50


def test_a_folder_without_data_is_refused(tmp_path):
    assert message(f"hub:{tmp_path}").startswith("tasks.t.source: ")


def test_a_damaged_data_file_is_refused(tmp_path):
    (tmp_path / "part.parquet").write_bytes(b"PAR1 and nothing that belongs there")
    assert message(f"hub:{tmp_path}").startswith("tasks.t.source: ")


@pytest.mark.parametrize("source", ["tinystories", "wikitext-103", "hub:nobody/nothing"])
def test_without_network_it_says_so_at_once(source, monkeypatch):
    def nowhere(*arguments, **named):
        raise socket.gaierror(-2, "Name or service not known")

    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    begun = time.monotonic()
    assert "the hub cannot be reached; run with a network" in message(source)
    assert time.monotonic() - begun < 5
    assert before == (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)


def test_a_name_that_cannot_be_one_is_refused():
    assert message("hub:a/b/c").startswith("tasks.t.source: no data set 'a/b/c' on the hub")


def test_a_data_set_the_hub_does_not_know_is_not_blamed_on_the_network(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def unknown(self, name, timeout):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unknown)
    assert message("hub:roneneldan/TinyStoriez") == (
        "tasks.t.source: no data set 'roneneldan/TinyStoriez' on the hub, or a private one; "
        "did you mean roneneldan/TinyStories? else check the spelling (OWNER/NAME), or set HF_TOKEN"
    )


def test_a_reachable_hub_is_asked_for_the_configuration(monkeypatch):
    import datasets
    import huggingface_hub

    asked = []

    def load_dataset(name, subset, streaming):
        asked.append((name, subset, streaming))
        lines = [" = Fox = \n", " Red . \n", " = Boat = \n", " Blue . \n"]
        return {split: [{"text": line} for line in lines] for split in ("train", "validation", "test")}

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, timeout: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = read("wikitext-103")
    assert asked == [(hub.WIKITEXT, "wikitext-103-raw-v1", True)]
    assert [(document.split, document.text) for document in found][:2] == [("test", " = Fox = \n Red . \n"), ("test", " = Boat = \n Blue . \n")]
    assert len(found) == 6


# Parameters


@pytest.mark.parametrize(
    ("block", "start"),
    [
        ({"source": "fables"}, "tasks.t.stories: "),
        ({"source": "a.txt", "stories": 5}, "tasks.t.stories: "),
        ({"source": "fables", "stories": 0}, "tasks.t.stories: 0; "),
        ({"source": "fables", "stories": 5, "limit": 3}, "tasks.t.limit: "),
        ({"source": "a.txt", "limit": 0}, "tasks.t.limit: 0; "),
        ({"source": "a.txt", "validation": 0}, "tasks.t.validation: "),
        ({"source": "a.txt", "validation": 0.5, "test": 0.5}, "tasks.t.test: "),
        ({"source": "a.txt", "seed": -1}, "tasks.t.seed: "),
        ({"source": "a.txt", "sorce": "b"}, "tasks.t.sorce: unknown parameter (did you mean 'source'?"),
        ({"source": "a.txt", "share": 0}, "tasks.t.share: 0.0 is no share of the documents; give 0 < share <= 1"),
        ({"source": "a.txt", "share": 1.5}, "tasks.t.share: 1.5 is no share"),
        ({"source": "fables", "stories": 5, "lines": True}, "tasks.t.lines: "),
        ({"source": "3seqs", "share": 0.5}, "tasks.t.share: is for sources that are read, and 3seqs are made; remove it, limit is their size"),
        ({"source": "wikipedia"}, "tasks.t.limit: wikipedia has some six million articles; "),
        ({"sources": []}, "tasks.t.sources: is empty; "),
        ({"sources": [{"source": "notebook", "weight": -1}]}, "tasks.t.sources.0.weight: must not be negative, not -1"),
        ({"sources": [{"source": "notebook", "weight": 0}, {"source": "3seqs", "weight": 0}]}, "tasks.t.sources: all weights are 0, "),
        ({"sources": [{"source": "notebook", "limit": 0}]}, "tasks.t.sources.0.limit: 0; give at least 1"),
        ({"sources": [{"source": "notebook", "wieght": 1}]}, "tasks.t.sources.0.wieght: unknown parameter (did you mean 'weight'?"),
        ({"sources": [{"source": "a/x.txt"}, {"source": "b/x.txt"}]}, "tasks.t.sources: two are called 'x'; "),
        ({"sources": [{"source": "notebook"}], "limit": 5}, "tasks.t.limit: belongs to an entry of sources; move it there"),
        ({"sources": [{"source": "notebook"}], "source": "3seqs"}, "tasks.t.source: belongs to an entry of sources; move it there"),
        ({"source": "a.txt", "tokenizer": {"kind": "bpe", "vocab_size": 300, "sample": 0}}, "tasks.t.tokenizer.sample: 0 characters; "),
        ({"source": "a.txt", "tokenizer": {"kind": "chars", "sample": 5}}, "tasks.t.tokenizer.sample: chars learns from no sample; "),
        ({"source": "a.txt", "tokenizer": {"kind": "gpt3"}}, "tasks.t.tokenizer.kind: unknown 'gpt3' (did you mean 'gpt2'?"),
        ({"source": "a.txt", "tokenizer": {"kind": "integers"}}, "tasks.t.tokenizer.kind: integers spells no text"),
        ({"source": "a.txt", "tokenizer": {"kind": "bpe"}}, "tasks.t.tokenizer.vocab_size: "),
        ({"source": "a.txt", "tokenizer": {"kind": "bpe", "vocab_size": 256}}, "tasks.t.tokenizer.vocab_size: 256; "),
        ({"source": "a.txt", "tokenizer": {"kind": "gpt2", "vocab_size": 512}}, "tasks.t.tokenizer.vocab_size: gpt2 has "),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(block, start):
    with pytest.raises(UserError) as error:
        parse(config.Config, {"kind": "text", "tokenizer": CHARS, **block}, "tasks.t")
    assert str(error.value).startswith(start)
