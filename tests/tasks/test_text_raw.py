"""The parquet files of a text task, and what is reported about them."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import datasets
import pytest

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.tasks import text
from picollm.tasks.text import raw

CHARS = {"kind": "chars"}


class Span(NamedTuple):
    start: int
    end: int


@dataclass(frozen=True)
class Story:
    text: str
    bits: float
    spans: tuple[Span, ...]
    values: dict[str, str]


def stories(seed: int, start: int, count: int) -> Iterator[Story]:
    """64 stories, equally likely: 6 bits each."""
    for i in range(start, start + count):
        name = hashlib.sha256(f"{seed} {i}".encode()).digest()[0] % 64
        yield Story(f"Fox {name:02d} ran.", 6.0, (Span(0, 3),), {"hero": f"Fox {name:02d}"})


@pytest.fixture
def told(monkeypatch):
    """A grammar small enough to know everything about."""
    module = ModuleType("picollm.tasks.text.fables")
    module.told = lambda split, seed, start, count: stories(seed, start, count)
    module.annotations = lambda story: {"spans": [span._asdict() for span in story.spans], "values": story.values}
    module.pairs = lambda seed, start, each: [{"category": "simple", "right": "Fox ran.", "wrong": "Fox run."}] * each
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(text, "fables", module, raising=False)


def generate(out: Path, source: Path | str, **block) -> dict:
    config = parse(text.Config, {"kind": "text", "tokenizer": CHARS, "source": str(source), **block}, f"tasks.{out.name}")
    return text.generate(config, out)


def rows(out: Path, split: str) -> list[dict]:
    return datasets.Dataset.from_parquet(str(out / f"{split}.parquet"), cache_dir=str(out / "cache")).to_list()


def test_fables_carry_their_floor_and_annotations(told, tmp_path):
    metrics = generate(tmp_path / "f", "fables", stories=50, validation=0.1, test=0.06, seed=3)
    found = {split: rows(tmp_path / "f", split) for split in metrics["splits"]}
    assert {split: len(rows) for split, rows in found.items() if split != "train"} == {
        "validation": 5,
        "test": 3,
        "heldout_templates": 3,
        "heldout_combinations": 3,
    }
    held = {row["text"] for split in ("validation", "test") for row in found[split]}
    assert not held & {row["text"] for row in found["train"]}
    assert metrics["duplicates_removed"] == 50 - len(found["train"]) == sum(story.text in held for story in stories(3, 0, 50)) > 0
    assert metrics["removed_probability"] == pytest.approx(len(held) / 64)
    for split, facts in metrics["splits"].items():
        assert facts == {"documents": len(found[split]), "bytes": 11 * len(found[split]), "floor_bits_per_byte": pytest.approx(6 / 11)}
    row = found["test"][0]
    assert row["ends"]
    assert json.loads(row["annotations"]) == {"spans": [{"start": 0, "end": 3}], "values": {"hero": row["text"][:6]}}


def test_the_size_of_the_held_out_sets_can_be_given_and_none_are_made_of_other_sources(told, tmp_path):
    metrics = generate(tmp_path / "f", "fables", stories=50, heldout=0.2)
    assert [metrics["splits"][f"heldout_{kind}"]["documents"] for kind in ("templates", "combinations")] == [10, 10]
    assert list(generate(tmp_path / "g", "fables", stories=50, heldout=0)["splits"]) == ["train", "validation", "test"]
    for block in ({"source": "3seqs", "heldout": 0.1}, {"source": "fables", "stories": 9, "heldout": 1}, {"sources": [{"source": "3seqs"}], "heldout": 0.1}):
        with pytest.raises(UserError, match=r"^tasks\.t.*heldout: "):
            parse(text.Config, {"kind": "text", "tokenizer": CHARS, **block}, "tasks.t")
    mixed = mixture(tmp_path / "m", {"source": "3seqs"}, {"source": "fables", "stories": 50})
    assert list(mixed["splits"]) == ["train", "validation", "test"]
    assert not (tmp_path / "m" / "pairs.json").exists()


def test_more_stories_leave_the_earlier_ones_where_they_are(told, tmp_path):
    for size in (100, 200):
        generate(tmp_path / str(size), "fables", stories=size, validation=10 / size, test=10 / size)
    for split in ("validation", "test"):
        assert rows(tmp_path / "100", split) == rows(tmp_path / "200", split)


def test_the_real_fables_have_what_is_asked_of_them(tmp_path):
    metrics = generate(tmp_path / "f", "fables", stories=10, test=0.5)
    for split, heldout in {"train": [], "heldout_templates": ["templates"], "heldout_combinations": ["combinations"]}.items():
        for row in rows(tmp_path / "f", split):
            assert row["bits"] > 0
            assert json.loads(row["annotations"])["heldout"] == heldout
    pairs = json.loads((tmp_path / "f" / "pairs.json").read_text())
    assert len(pairs) == len({pair["category"] for pair in pairs}) == 10, "one of each for a hundred stories, and at least one"
    assert 0 < metrics["splits"]["train"]["floor_bits_per_byte"] < 3


def test_the_same_parameters_give_the_same_bytes(told, tmp_path):
    first, second = (generate(tmp_path / name / "f", "fables", stories=500) for name in "ab")
    assert first == second
    for path in (tmp_path / "a" / "f").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "f" / path.name).read_bytes()


def test_a_file_is_hashed_and_counted_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "GROUP", 1000)
    text = "".join(f"Zeile {n} schöner Text.\n" for n in range(500))
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    metrics = generate(tmp_path / "t", tmp_path / "a.txt")
    assert metrics["source_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert [facts["documents"] for facts in metrics["splits"].values()] == [1, 1, 1]
    assert sum(facts["bytes"] for facts in metrics["splits"].values()) == len(text.encode())
    assert "".join(row["text"] for split in metrics["splits"] for row in rows(tmp_path / "t", split)) == text


def test_a_long_document_is_stored_in_pieces_of_which_the_last_ends_it(tmp_path, monkeypatch):
    from picollm.tasks.text import documents

    cut = documents.pieces
    monkeypatch.setattr(raw, "pieces", lambda blocks: cut(blocks, 50))
    for n in range(20):
        (tmp_path / f"{n}.txt").write_text(f"{n} " + "word " * 30)
    metrics = generate(tmp_path / "t", tmp_path, validation=0.3, test=0)
    found = rows(tmp_path / "t", "train")
    assert sum(row["ends"] for row in found) == metrics["splits"]["train"]["documents"] < len(found)


def test_a_training_copy_of_a_held_out_document_is_removed(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for split, texts in {"train": ["a", "b", "c", "b"], "validation": ["b"], "test": ["c", "z"]}.items():
        (data / f"{split}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    metrics = generate(tmp_path / "t", f"hub:{data}")
    assert metrics["duplicates_removed"] == 3
    assert [row["text"] for row in rows(tmp_path / "t", "train")] == ["a"]


def test_empty_documents_are_no_documents(tmp_path):
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text("\n \n" if n % 2 else f"text {n}")
    metrics = generate(tmp_path / "t", tmp_path, validation=0.3, test=0)
    assert sum(facts["documents"] for facts in metrics["splits"].values()) == 20


@pytest.mark.parametrize(
    ("texts", "start"),
    [([""], "tasks.t.source: holds no text; "), (["one"], "tasks.t.validation: its share of 1 documents leaves ")],
)
def test_an_empty_split_is_refused_and_nothing_is_left(tmp_path, texts, start):
    for n, content in enumerate(texts):
        (tmp_path / f"{n}.txt").write_text(content)
    with pytest.raises(UserError) as error:
        generate(tmp_path / "t", tmp_path, test=0)
    assert str(error.value).startswith(start)
    assert not list((tmp_path / "t").iterdir())


def test_a_file_too_short_for_its_splits_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    with pytest.raises(UserError, match=r"^tasks\.t\.validation: "):
        generate(tmp_path / "t", tmp_path / "a.txt")


def mixture(out: Path, *sources: dict, **block) -> dict:
    config = parse(text.Config, {"kind": "text", "tokenizer": CHARS, "sources": list(sources), **block}, f"tasks.{out.name}")
    return text.generate(config, out)


def test_every_source_of_a_mixture_has_files_of_its_own(tmp_path):
    metrics = mixture(tmp_path / "m", {"source": "3seqs", "limit": 90}, {"source": "notebook"}, validation=0.1, test=0.1)
    alone = {name: generate(tmp_path / name, name, validation=0.1, test=0.1, **more) for name, more in (("3seqs", {"limit": 90}), ("notebook", {}))}
    for own in [*metrics["sources"].values(), *alone.values()]:
        del own["source_sha256"]  # of the documents in the order in which they are read
    assert metrics["sources"] == alone
    for name in alone:
        for split in ("train", "validation", "test"):
            assert (tmp_path / "m" / name / f"{split}.parquet").read_bytes() == (tmp_path / name / f"{split}.parquet").read_bytes()
    total = sum(alone[name]["splits"]["test"]["bytes"] for name in alone)
    assert metrics["splits"]["test"]["bytes"] == total


def test_what_any_source_holds_out_is_trained_on_in_none(tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    for split, texts in {"train": ["x", "y"], "validation": ["b"]}.items():
        (held / f"{split}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "lines.txt").write_text("".join(f"{word}\n" for word in ["a", "b", "c", *map(str, range(200))]))
    config = {"validation": 0.05, "test": 0}
    metrics = mixture(tmp_path / "m", {"source": str(tmp_path / "lines.txt"), "lines": True}, {"source": f"hub:{held}"}, **config)
    trained = {row["text"] for row in rows(tmp_path / "m" / "lines", "train")}
    assert "b" not in trained
    assert metrics["sources"]["lines"]["duplicates_removed"] == 1


def test_a_source_too_small_for_its_splits_is_named_by_its_place(tmp_path):
    with pytest.raises(UserError, match=r"^tasks\.m\.sources\.1\.(validation|test): its share of 2 documents leaves "):
        mixture(tmp_path / "m", {"source": "3seqs"}, {"source": "notebook", "limit": 2})
    with pytest.raises(UserError, match=r"^tasks\.m\.sources\.1\.source: no such file or folder 'notebok' \(did you mean 'notebook'\?"):
        mixture(tmp_path / "m", {"source": "3seqs"}, {"source": "notebok"})


def test_3seqs_have_a_floor_and_empty_files_are_counted(tmp_path):
    metrics = generate(tmp_path / "s", "3seqs")
    assert 0 < metrics["splits"]["test"]["floor_bits_per_byte"] < 0.3
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text("" if n < 3 else f"text {n}")
    assert generate(tmp_path / "t", tmp_path, validation=0.3, test=0)["empty_documents"] == 3
