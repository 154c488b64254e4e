"""`python -m picollm analyze`: what it says of one text is what the model does, a checkpoint without its data is looked into as far as it goes, and
whatever cannot be is refused in one line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm import cli
from picollm.core import registry
from picollm.core.errors import UserError
from picollm.explorer.spelling import Spelling
from picollm.nn.decoder import attention_matrices
from picollm.training.checkpoints import load_model, read_config

Command = Callable[..., str]


@pytest.fixture
def analyze(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """analyze("softmax", "--text", "3 5") -> what the command prints; run beside the study's data, where there are no parameters."""
    (tmp_path / "data").symlink_to(study / "data")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["picollm", "analyze", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
        return capsys.readouterr().out

    return command


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", line)]


def test_what_is_said_of_a_text_is_what_the_model_does(analyze: Command, study: Path) -> None:
    said = analyze("softmax", "--text", "3 5, 7 9")
    folder = study / "data/checkpoints/softmax/seed0"
    model, ids = load_model(folder), torch.tensor([[3, 5, 7, 9]])
    matrix = attention_matrices(model, ids)[1, 0, 0].numpy()
    (line,) = [line for line in said.splitlines() if line.startswith("layer 1  head 0 ")]
    itself, previous, first, back, *most = numbers(line)
    assert itself == pytest.approx(np.diagonal(matrix)[1:].mean(), abs=0.005)
    assert previous == pytest.approx(np.diagonal(matrix, -1).mean(), abs=0.005)
    assert first == pytest.approx(matrix[1:, 0].mean(), abs=0.005)
    assert back == pytest.approx((matrix * (np.arange(4)[:, None] - np.arange(4)))[1:].sum(1).mean(), abs=0.05)
    above = matrix - np.tri(4) / np.arange(1, 5)[:, None]
    assert most == pytest.approx(matrix.flat[np.argsort(-above, axis=None)[:3]], abs=0.005)
    with torch.no_grad():
        likely = model(ids)[0, -1].softmax(-1)
    (line,) = [line for line in said.splitlines() if line.startswith("next: ")]
    assert line.startswith(f"next: {int(likely.argmax())} {float(likely.max()):.4f}, ")
    assert Path("analyze/softmax/seed0/head_maps.png").stat().st_size > 5000
    assert said == analyze("softmax", "--text", "3 5, 7 9")


def test_layer_and_heads_choose(analyze: Command) -> None:
    said = analyze("linear", "--text", "3 5 7", "--layer", "1", "--heads", "3,0", "--out", "here")
    heads = [line for line in said.splitlines() if line.startswith("layer")]
    assert [line.split()[:4] for line in heads] == [["layer", "1", "head", "3"], ["layer", "1", "head", "0"]]
    assert Path("here/head_maps.png").exists()
    assert not Path("analyze").exists()


def test_signed_weights_keep_their_sign(analyze: Command) -> None:
    said = analyze("signed", "--text", "3 5 7 9 11 13")
    assert "rows sum to nothing in particular" in said
    assert any(number < 0 for line in said.splitlines() if " most: " in line for number in numbers(line.partition(" most: ")[2]))


def test_files_stored_sequences_and_sums(analyze: Command, study: Path) -> None:
    Path("cat.txt").write_text("the cat\n")
    assert analyze("writer", "--file", "cat.txt").startswith('8 tokens: "<|endoftext|>" "t" "h" "e" " " "c" "a" "t"\n')
    first = analyze("softmax", "--seq-type", "counting", "--length", "6").splitlines()[0]
    assert first.startswith("6 tokens: ")
    terms = [int(word) for word in first.split()[2:]]
    assert np.diff(terms).tolist() == [1] * 5, "counting"
    for written in ("+1342+879+", "1342+879", " 1342 + 879 "):
        assert analyze("adder", "--text", written).startswith("16 tokens: + 2 4 3 1 + 9 7 8 0 + 1 2 2 2 0\n"), "units first, with the true answer"


def test_a_model_without_heads_says_so_and_what_comes_next(analyze: Command) -> None:
    for run, reason in (
        ("lstm", "lstm has no attention, and no taps inside its layers"),
        ("kgram", "kgram has no attention, and no taps inside its layers"),
    ):
        said = analyze(run, "--text", "the cat").splitlines()
        assert said[1].startswith('next: "')
        assert said[2:] == [f"not looked at: heads: {reason}"]
    assert analyze("filters", "--text", "3").endswith("not looked at: heads: a convolution has no attention matrix\n")
    assert not Path("analyze").exists(), "nothing was drawn"


def test_without_a_text_all_analyses_run(analyze: Command) -> None:
    Path("params.yaml").write_text("interpret: {length: 6, untrained: 1, sequence_types: [counting]}\n")
    said = analyze("softmax", "--analysis", "attention_maps", "--analysis", "modular_arithmetic")
    assert said.startswith("# softmax: what is inside\n")
    assert "- modular arithmetic: " in said
    folder = Path("analyze/softmax/seed0")
    assert (folder / "attention_maps_counting.png").exists(), "of the types that the parameters name"
    assert (folder / "report.md").read_text() in said
    said = analyze("lstm")
    for name in registry.names("analysis"):
        if name != "embedding_pca":
            assert f"- {name.replace('_', ' ')}: " in said, "skipped, with the reason"


def test_without_its_data_a_checkpoint_is_looked_into_as_far_as_it_goes(analyze: Command, study: Path) -> None:
    Path("params.yaml").write_text("interpret: {untrained: 1}\n")
    Path("data").unlink()
    shutil.copytree(study / "data/checkpoints/softmax/seed0", "given")
    missing = "needs data/tokens/numbers and data/raw/numbers, which are not there; run `dvc repro tokenize@numbers`"
    said = analyze("given", "--analysis", "attention_maps", "--analysis", "embedding_pca", "--out", "here")
    assert f"- attention maps: {missing}" in said
    assert "embedding pca: " not in said, "it needs no data"
    assert Path("here/embedding_pca.png").exists()
    assert "4 tokens: 3 5 7 9" in analyze("given", "--text", "3 5 7 9")
    Path("data/tokens").mkdir(parents=True)
    Path("data/raw").mkdir()
    shutil.copytree(study / "data/tokens/story", "data/tokens/numbers")
    shutil.copytree(study / "data/raw/numbers", "data/raw/numbers")
    said = analyze("given", "--analysis", "attention_maps")
    assert "- attention maps: needs the tokens that the model was trained on, and those in data/tokens/numbers are of another tokenizer" in said


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["softmax", "--text", ""], "text: is empty; give at least one token"),
        (["softmax", "--text", " "], "text: is empty; give at least one token"),
        (["softmax", "--text", "5"], "text: is a single token, which has nothing to look at but itself; give at least two"),
        (["softmax", "--text", "5 x"], "text: 'x' is outside the vocabulary; use integers from 0 to 126, separated by spaces"),
        (["softmax", "--text", "5 " * 300], "text: 300 tokens, maps can be read up to 256; shorten it"),
        (["table", "--text", "5 " * 17], "text: 17 tokens, the model takes 16; shorten it"),
        (["writer", "--text", "Zebra"], "text: chars knows only the training text, which has no 'Z' (U+005A); "),
        (["writer", "--file", "none.txt"], "none.txt: cannot be read (No such file or directory); name a text file"),
        (["writer", "--file", "bad.txt"], "bad.txt: is not UTF-8 at byte 1; convert it"),
        (["writer", "--text", "a", "--file", "b"], "file: give either --text or --file, and not both"),
        (["softmax", "--text", "3 5", "--layer", "2"], "layer: there is no 2; the model has 0 to 1"),
        (["softmax", "--text", "3 5", "--layer", "-1"], "layer: there is no -1; the model has 0 to 1"),
        (["softmax", "--text", "3 5", "--heads", "0,2"], "heads: there is no 2; the model has 0 to 1"),
        (["softmax", "--text", "3 5", "--heads", "0;1"], "heads: '0;1' is no number of a head; write them like 0,2"),
        (["softmax", "--heads", "0"], "heads: belongs to --text, --file, --seq-type; give that, or leave it out"),
        (["softmax", "--text", "3 5", "--length", "8"], "length: belongs to --seq-type; give that, or leave it out"),
        (["lstm", "--text", "the", "--layer", "0"], "layer: lstm has no attention, and no taps inside its layers; leave it out"),
        (["softmax", "--seq-type", "arithmtic"], "analyze.sequence_types: unknown 'arithmtic' (did you mean 'arithmetic'? "),
        (["softmax", "--seq-type", "walk", "--length", "2"], "analyze.length: must be at least 3, not 2: "),
        (["softmax", "--seq-type", "walk", "--length", "600"], "length: 600 terms, the longest stored sequences have 48; lower it"),
        (["writer", "--seq-type", "walk"], "seq-type: the task has no sequence types; give --text"),
        (["adder", "--seq-type", "walk"], "seq-type: the task has no sequence types; give --text"),
        (["adder", "--text", "12"], "text: '12' is no sum of 2 numbers; write it like 1342+879"),
        (["adder", "--text", "1+2+3"], "text: '1+2+3' is no sum of 2 numbers; "),
        (["adder", "--text", "1+x"], "x: 'x' is no digit of base 10"),
        (["softmax", "--analysis", "attention_map"], "analyze.analyses: unknown 'attention_map' (did you mean 'attention_maps'? "),
        (["softmax", "--text", "3 5", "--analysis", "attention_maps"], "analysis: looks at the task's own sequences; "),
        (["softmax", "--text", "3 5", "--layr", "1"], "No such option: --layr"),
        (["nothing", "--text", "3 5"], "params.yaml: no such file; "),
        (["stranger", "--text", "3 5"], "stranger: "),
        (["cut", "--text", "3 5"], "cut/model.safetensors: truncated or not a safetensors file"),
        (["softmax", "--text", "3 5", "--model-seed", "4"], "data/checkpoints/softmax/seed4: no such model; the run has seed0"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused(analyze: Command, study: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], start: str) -> None:
    Path("bad.txt").write_bytes(b"a\xff")
    seed = study / "data/checkpoints/softmax/seed0"
    if words[0] in ("stranger", "cut"):
        shutil.copytree(seed, words[0])
    if words[0] == "stranger":
        shutil.copy(study / "data/checkpoints/linear/seed0/model.safetensors", "stranger/model.safetensors")
        config = Path("stranger/config.json")
        config.write_text(config.read_text().replace('"n_layer": 2', '"n_layer": 3'))
    if words[0] == "cut":
        Path("cut/model.safetensors").write_bytes(b"cut")
    monkeypatch.setattr("sys.argv", ["picollm", "analyze", *words])
    with pytest.raises(UserError) as caught:
        cli.main()
    assert str(caught.value).startswith(start)
    assert not Path("analyze").exists()


@pytest.mark.parametrize("run", ["softmax", "adder", "writer"])
def test_every_token_has_a_label(study: Path, run: str) -> None:
    spelling = Spelling(read_config(study / f"data/checkpoints/{run}/seed0"))
    labels = spelling.labels(np.arange(read_config(study / f"data/checkpoints/{run}/seed0")["vocab_size"]))
    assert len(set(labels)) == len(labels)
    assert all(labels)
    assert labels[-1] == ("<|endoftext|>" if run == "writer" else "pad")
