"""The token streams of a text task."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens
from picollm.tasks import text
from picollm.tasks.text import documents, raw
from picollm.tokenizers._shared import from_json, load

TOKENIZERS = [{"kind": "chars"}, {"kind": "bytes"}, {"kind": "gpt2"}, {"kind": "bpe", "vocab_size": 270}]


def make(folder: Path, source: Path | str, tokenizer: dict, **block) -> dict:
    """data/raw/t and data/tokens/t below `folder`; the metrics of tokenize."""
    config = parse(text.Config, {"kind": "text", "tokenizer": tokenizer, "source": str(source), **block}, "tasks.t")
    text.generate(config, folder / "raw" / "t")
    return text.tokenize(config, folder / "raw" / "t", folder / "tokens" / "t")


@pytest.fixture
def stories(tmp_path):
    folder = tmp_path / "stories"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n}.txt").write_text(f"The fox {n} asked, “Where is the boat?”" + " Then it ran." * (n % 5), encoding="utf-8")
    return folder


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda block: block["kind"])
def test_the_stream_is_end_document_end(stories, tmp_path, tokenizer):
    metrics = make(tmp_path, stories, tokenizer, validation=0.2, test=0.2)
    tokens = open_tokens(tmp_path / "tokens" / "t")
    coder = from_json(tokens.header["tokenizer"])
    every = []
    for split, facts in metrics["splits"].items():
        stream = tokens.split(split)
        ends = np.flatnonzero(stream == coder.end)
        assert ends[0] == 0
        assert ends[-1] == len(stream) - 1
        own = [coder.decode(stream[a + 1 : b]) for a, b in pairwise(ends)]
        size = sum(len(document.encode()) for document in own)
        assert facts == {"tokens": len(stream), "bytes": size, "documents": len(own), "tokens_per_byte": len(stream) / size}
        every += own
        if split != "train":
            assert np.load(tokens.folder / f"{split}.offsets.npy").tolist() == ends.tolist()
            assert np.load(tokens.folder / f"{split}.bytes.npy").tolist() == [len(document.encode()) for document in own]
    assert sorted(every) == sorted(path.read_text(encoding="utf-8") for path in stories.iterdir())
    assert tokens.header["kind"] == "text"
    assert tokens.header["end"] == coder.end == metrics["vocab_size"] - 1
    assert load(tokens.folder).to_json() == coder.to_json()


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda block: block["kind"])
def test_a_file_is_one_document_that_never_ends(tmp_path, tokenizer):
    content = "The fox asked: where is the boat?\n" * 300
    (tmp_path / "a.txt").write_text(content)
    make(tmp_path, tmp_path / "a.txt", tokenizer, validation=0.1, test=0)
    tokens = open_tokens(tmp_path / "tokens" / "t")
    coder = from_json(tokens.header["tokenizer"])
    spelled = ""
    for split in ("train", "validation"):
        stream = tokens.split(split)
        assert np.flatnonzero(stream == coder.end).tolist() == [0]
        assert not tokens.header["splits"][split]["whole"]
        spelled += coder.decode(stream[1:])
    assert spelled == content
    assert not list(tokens.folder.glob("*.npy"))


def test_pieces_of_a_document_are_joined_again(stories, tmp_path, monkeypatch):
    make(tmp_path / "whole", stories, {"kind": "gpt2"})
    cut = documents.pieces
    monkeypatch.setattr(raw, "pieces", lambda blocks: cut(blocks, 40))
    monkeypatch.setattr(raw, "GROUP", 100)  # so that a document straddles row groups
    make(tmp_path / "cut", stories, {"kind": "gpt2"})
    for path in (tmp_path / "whole" / "tokens" / "t").iterdir():
        assert path.read_bytes() == (tmp_path / "cut" / "tokens" / "t" / path.name).read_bytes()


def test_the_same_parameters_give_the_same_bytes(stories, tmp_path):
    for name in "ab":
        make(tmp_path / name, stories, TOKENIZERS[3])
    for path in (tmp_path / "a" / "tokens" / "t").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "tokens" / "t" / path.name).read_bytes()


def test_fables_know_their_floor_per_token(tmp_path):
    metrics = make(tmp_path, "fables", {"kind": "bpe", "vocab_size": 300}, stories=40, validation=0.2)
    tokens = open_tokens(tmp_path / "tokens" / "t")
    bits = np.load(tokens.folder / "validation.bits.npy")
    assert len(bits) == metrics["splits"]["validation"]["documents"] == 8
    assert metrics["splits"]["validation"]["floor_bits_per_token"] == pytest.approx(bits.sum() / (len(tokens.split("validation")) - 1))
    assert metrics["splits"]["train"]["floor_bits_per_token"] > 0


def test_the_tokenizer_sees_the_training_text_only(tmp_path):
    (tmp_path / "a.txt").write_text("a" * 90 + "b" * 10)
    with pytest.raises(UserError, match=r"^tasks\.t\.tokenizer\.kind: chars knows only the training text, which has no 'b' \(U\+0062\)"):
        make(tmp_path, tmp_path / "a.txt", {"kind": "chars"}, validation=0.1, test=0)


def test_a_vocabulary_too_large_for_the_text_is_named_by_its_task(stories, tmp_path):
    with pytest.raises(UserError, match=r"^tasks\.t\.tokenizer\.vocab_size: the training text yields "):
        make(tmp_path, stories, {"kind": "bpe", "vocab_size": 5000})


def test_missing_and_damaged_raw_data_are_named(stories, tmp_path):
    make(tmp_path, stories, {"kind": "chars"})
    config = parse(text.Config, {"kind": "text", "tokenizer": {"kind": "chars"}, "source": str(stories)}, "tasks.t")
    path = tmp_path / "raw" / "t" / "validation.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"validation\.parquet: is damaged"):
        text.tokenize(config, tmp_path / "raw" / "t", tmp_path / "tokens" / "t")
    path.unlink()
    with pytest.raises(UserError, match=r"validation\.parquet: no such file; run the stage"):
        text.tokenize(config, tmp_path / "raw" / "t", tmp_path / "tokens" / "t")


def test_the_tokenizer_of_a_checkpoint_is_its_json(stories, tmp_path):
    make(tmp_path, stories, TOKENIZERS[3])
    header = open_tokens(tmp_path / "tokens" / "t").header
    again = from_json(json.loads(json.dumps(header["tokenizer"])))
    assert again.encode("The fox") == load(tmp_path / "tokens" / "t").encode("The fox")


def test_the_number_of_processes_cannot_be_seen_in_the_files(stories, tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "GROUP", 200)  # many row groups
    monkeypatch.setattr(documents, "PIECE", 50)
    config = parse(text.Config, {"kind": "text", "tokenizer": TOKENIZERS[3], "source": str(stories)}, "tasks.t")
    text.generate(config, tmp_path / "raw" / "t")
    metrics = [text.tokenize(config, tmp_path / "raw" / "t", tmp_path / str(processes), processes) for processes in (1, 2, 3)]
    assert metrics[0] == metrics[1] == metrics[2]
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes() == (tmp_path / "3" / path.name).read_bytes()


def test_a_mistake_in_a_process_is_said_by_this_one(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "GROUP", 50)
    (tmp_path / "a.txt").write_text("a b\n" * 90 + "b" * 40)
    config = parse(text.Config, {"kind": "text", "tokenizer": {"kind": "chars"}, "source": str(tmp_path / "a.txt"), "test": 0, "validation": 0.05}, "tasks.t")
    text.generate(config, tmp_path / "raw" / "t")
    (tmp_path / "raw" / "t" / "train.parquet").write_bytes((tmp_path / "raw" / "t" / "train.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"train\.parquet: is damaged"):
        text.tokenize(config, tmp_path / "raw" / "t", tmp_path / "tokens" / "t", 2)


def test_bpe_learns_from_parts_spread_over_a_long_text(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "GROUP", 1000)
    (tmp_path / "a.txt").write_text("".join(f"{word * 9} {n}\n" for word in ("xyz", "beta", "gamma", "delta") for n in range(90)))
    learned = {}
    for sample in (1000, 4000, 100_000):
        make(tmp_path / str(sample), tmp_path / "a.txt", {"kind": "bpe", "vocab_size": 259, "sample": sample}, lines=True)
        learned[sample] = open_tokens(tmp_path / str(sample) / "tokens" / "t").header["tokenizer"]["merges"]
    make(tmp_path / "whole", tmp_path / "a.txt", {"kind": "bpe", "vocab_size": 259}, lines=True)
    assert learned[100_000] == open_tokens(tmp_path / "whole" / "tokens" / "t").header["tokenizer"]["merges"]
    assert learned[1000] != learned[100_000]


def test_a_mixture_is_one_stream_that_knows_its_sources(stories, tmp_path):
    (tmp_path / "book.txt").write_text("The fox asked, “Where is the boat?”\n" * 50, encoding="utf-8")
    block = [{"source": "3seqs", "limit": 60, "weight": 3}, {"source": str(tmp_path / "book.txt"), "weight": 0}, {"source": str(stories), "weight": 1}]
    config = parse(text.Config, {"kind": "text", "tokenizer": {"kind": "bytes"}, "sources": block, "validation": 0.2, "test": 0.2}, "tasks.t")
    text.generate(config, tmp_path / "raw" / "t")
    metrics = text.tokenize(config, tmp_path / "raw" / "t", tmp_path / "tokens" / "t")
    tokens = open_tokens(tmp_path / "tokens" / "t")
    assert tokens.weights == {"3seqs": 0.75, "book": 0.0, "stories": 0.25}
    for split in ("train", "validation", "test"):
        found = {name: stream for name, stream, _ in tokens.sources(split)}
        assert all(stream[0] == 256 for stream in found.values())
        assert found["3seqs"][-1] == found["stories"][-1] == 256
        assert np.flatnonzero(found["book"] == 256).tolist() == [0]
        counts = {name: metrics["sources"][name]["splits"][split] for name in found}
        assert sum(own["share"] for own in counts.values()) == pytest.approx(1)
        for name, stream in found.items():
            assert counts[name]["tokens"] == len(stream) - 1
            assert counts[name]["bytes"] == (stream != 256).sum()
            assert counts[name]["documents"] == max(1, (stream == 256).sum() - 1)
        assert metrics["splits"][split]["bytes"] == (tokens.split(split) != 256).sum()
        assert not tokens.header["splits"][split]["whole"]


@pytest.mark.skipif("PICOLLM_TEXT_DIR" not in os.environ, reason="needs the folder PICOLLM_TEXT_DIR")
def test_tiny_shakespeare_is_split_as_everybody_splits_it(tmp_path):
    make(tmp_path, Path(os.environ["PICOLLM_TEXT_DIR"], "tinyshakespeare.txt"), {"kind": "chars"}, validation=0.1, test=0)
    tokens = open_tokens(tmp_path / "tokens" / "t")
    assert tokens.vocab_size == 65 + 1
    assert [len(tokens.split(split)) - 1 for split in ("train", "validation")] == [1_003_854, 111_540]
