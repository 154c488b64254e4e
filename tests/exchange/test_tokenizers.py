"""The tokenizer goes along with a model: the same ids and the same text in both libraries."""

import json

import pytest
import torch
import transformers

from picollm import cli, exchange, models
from picollm.core.errors import UserError
from picollm.exchange import _tokenizers
from picollm.tokenizers import bpe, chars, gpt2
from picollm.training.checkpoints import read_config, save_model

TEXT = "The hare and the hound ran over the hill.\nIt's 1 more, isn't it? Ünïcode  too: 兔\t!"
BLOCK = {"kind": "gpt2", "size": "tiny", "n_layer": 1, "d_model": 16, "n_head": 2}


def made(kind):
    return {"gpt2": gpt2.Tokenizer, "bpe": bpe.Tokenizer, "chars": chars.Tokenizer}[kind].train([TEXT], 280 if kind == "bpe" else None)


def save(folder, tokenizer, block=BLOCK):
    torch.manual_seed(0)
    facts = {"model": block, "kind": "text", "tokenizer": tokenizer.to_json(), "whole": True, "targets": False}
    save_model(folder, models.build(block, tokenizer.vocab_size, "model"), facts)


@pytest.mark.parametrize("kind", ["gpt2", "bpe", "chars"])
def test_both_libraries_read_a_text_alike(kind, tmp_path):
    ours = made(kind)
    save(tmp_path / "ours", ours)
    assert exchange.export(tmp_path / "ours", tmp_path / "theirs") == []
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    assert theirs(TEXT)["input_ids"] == ours.encode(TEXT)
    assert theirs.decode(ours.encode(TEXT), clean_up_tokenization_spaces=False) == TEXT
    assert (theirs.eos_token_id, len(theirs)) == (ours.end, ours.vocab_size)
    exchange.import_(tmp_path / "theirs", tmp_path / "back")
    assert read_config(tmp_path / "back") == {**read_config(tmp_path / "ours"), "model": read_config(tmp_path / "back")["model"]}


def test_byte_pairs_of_others_are_taken_and_other_kinds_named(tmp_path):
    ours = made("bpe")
    save(tmp_path / "ours", ours)
    exchange.export(tmp_path / "ours", tmp_path / "theirs")
    file = tmp_path / "theirs/config.json"
    file.write_text(json.dumps({key: value for key, value in json.loads(file.read_text()).items() if key != "picollm"}))
    assert exchange.import_(tmp_path / "theirs", tmp_path / "back") == []
    assert read_config(tmp_path / "back")["tokenizer"] == ours.to_json()
    text = (tmp_path / "theirs/tokenizer.json").read_text()
    assert _tokenizers.to_ours(text, ours.vocab_size + 1) is None
    (tmp_path / "theirs/tokenizer.json").write_text(text.replace('"BPE"', '"WordLevel"'))
    assert "is not GPT-2's kind of byte pairs" in exchange.import_(tmp_path / "theirs", tmp_path / "again")[0]
    (tmp_path / "theirs/tokenizer.json").unlink()
    assert exchange.import_(tmp_path / "theirs", tmp_path / "third") == ["the tokenizer stays behind: there is no tokenizer.json"]


def test_numbers_have_no_tokenizer_there(tmp_path):
    save_model(tmp_path / "ours", models.build(BLOCK, 11, "model"), {"model": BLOCK, "tokenizer": {"kind": "integers", "pad": 10}})
    assert exchange.export(tmp_path / "ours", tmp_path / "theirs") == ["the tokenizer stays behind: integers has no counterpart there"]


def command(*words, monkeypatch):
    monkeypatch.setattr("sys.argv", ["picollm", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code


def test_the_commands_export_import_and_sample(tmp_path, monkeypatch, capsys):
    save(tmp_path / "ours", made("bpe"))
    command("export", tmp_path / "ours", "--to", "hf", tmp_path / "theirs", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == f"AutoModelForCausalLM.from_pretrained('{tmp_path}/theirs') loads it\n"
    command("import", tmp_path / "theirs", tmp_path / "back", monkeypatch=monkeypatch)
    assert capsys.readouterr().out.startswith(f"{tmp_path}/back is a checkpoint")
    said = []
    for folder in ("ours", "back"):
        command("sample", tmp_path / folder, "--prompt", "The hare", "--length", "5", monkeypatch=monkeypatch)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].startswith("The hare")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "OURS", "--to", "onnx", "new"], "'onnx'"),
        (["export", "OURS", "OURS"], "is there already; name a new folder"),
        (["import", "nowhere", "new"], "nowhere: no model of transformers"),
    ],
)
def test_a_mistake_in_a_command_is_one_line(words, message, tmp_path, monkeypatch):
    save(tmp_path / "ours", made("bpe"))
    monkeypatch.setattr("sys.argv", ["picollm", *(word.replace("OURS", str(tmp_path / "ours")) for word in words)])
    with pytest.raises(UserError, match=message) as caught:
        cli.main()
    assert "\n" not in str(caught.value)
