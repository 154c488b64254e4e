"""Whatever is wrong with parameters, corpora, tokens, checkpoints or a command: one line that says where and what to do, and nothing good is lost.

The many cases run in this process, through the same entry points as the commands; a few of each kind are real commands.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm import cli, load, models
from picollm.core import registry
from picollm.core.config import parse, read
from picollm.core.errors import exit_on_user_error
from picollm.core.files import read_record
from picollm.core.tokens import open_tokens
from picollm.generation.samples import Samples, sample_all
from picollm.study import Study
from picollm.training import batches
from picollm.training.checkpoints import read_config, save_model
from picollm.training.recipe import Recipe
from stages import check, generate, tokenize

PARAMS = """\
budget: study
device: cpu
threads: 1
samples: {prompts: [The], length: 5, settings: {greedy: {temperature: 0}}}
interpret: {length: 8, untrained: 1}
tasks:
  numbers: {kind: numeric, spec: classic, train: 64, validation: 32, test: 32, long: 4, long_lengths: [32, 48]}
  story: {kind: text, source: corpus.txt, validation: 0.2, test: 0.2, tokenizer: {kind: chars}}
runs:
  softmax:
    task: numbers
    seeds: 2
    model: {kind: transformer, attention: softmax, n_layer: 1, n_head: 2, d_model: 16}
    training: {steps: 20, batch_size: 4, log_every: 5, validate_every: 10, lr: 0.002}
  linear:
    task: numbers
    seeds: {smoke: 1, study: 1, full: 1, paper: 1}
    model: {kind: transformer, attention: linear, n_layer: 1, n_head: 2, d_model: 16}
    training: {data: fixed, epochs: 2, batch_size: 16, log_every: 2, validate_every: 4, lr: 0.002}
  writer:
    task: story
    seeds: 1
    model: {kind: lstm, d_model: 16}
    training: {steps: 10, batch_size: 4, context: 16, log_every: 5, validate_every: 10}
variants: {}
sweeps:
  rates: {base: runs.softmax, task: numbers, seeds: 1, grid: {training.lr: [0.001, 0.004], training.steps: [5]}}
pairs: {}
"""
CORPUS = "The hare and the hound ran over the hill. " * 40
LSTM = "kind: lstm, d_model: 16"
HEADS = "n_head: 2, d_model: 16}\n    training: {steps"
RATE = "validate_every: 10, lr: 0.002"
TOKENIZER = "tokenizer: {kind: chars}"
GRID = "training.lr: [0.001, 0.004]"


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """A folder with the small study's parameters and corpus, and this process in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("params.yaml").write_text(PARAMS)
    Path("corpus.txt").write_text(CORPUS)
    return tmp_path


def edit(*changes: tuple[str, str]) -> None:
    text = Path("params.yaml").read_text()
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    Path("params.yaml").write_text(text)


def one_line(stderr: str) -> str:
    """The message: all that a mistake may print."""
    assert stderr.startswith("error: "), stderr
    assert stderr.count("\n") == 1, stderr
    return stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def refusal(capsys):
    """refusal(main) -> the message that the command `main` ends with, exit code 1."""

    def message(main) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            exit_on_user_error(main)
        assert caught.value.code == 1
        output = capsys.readouterr()
        assert output.out == ""
        return one_line(output.err)

    return message


def stage(module, *names):
    """What `python -m stages` calls."""
    return lambda: module.main(Study(read()), *names)


# Parameters: `check`, which precedes everything else


PARAMETERS = [
    # names of parameters
    ("runs:", "rusn:", "rusn: unknown section of params.yaml (did you mean 'runs'? "),
    ("seeds: 2", "sedes: 2", "runs.softmax.sedes: unknown parameter (did you mean 'seeds'? "),
    ("    seeds: 2\n", "", "runs.softmax.seeds: is missing; add it to params.yaml"),
    ("{steps: 20, batch_size", "{steps: 20, batchsize", "runs.softmax.training.batchsize: unknown parameter (did you mean 'batch_size'? "),
    (LSTM, "kind: lstm, d_modle: 16", "runs.writer.model.d_modle: unknown parameter (did you mean 'd_model'? "),
    ("{kind: chars}", "{kind: chars, size: 3}", "tasks.story.tokenizer.size: unknown parameter "),
    ("{temperature: 0}", "{temprature: 0}", "samples.settings.greedy.temprature: unknown parameter (did you mean 'temperature'? "),
    ("untrained: 1", "untraind: 1", "interpret.untraind: unknown parameter (did you mean 'untrained'? "),
    # names of things
    (LSTM, "kind: lstmm", "runs.writer.model.kind: unknown 'lstmm' (did you mean 'lstm'? "),
    (LSTM, "d_model: 16", "runs.writer.model.kind: unknown None (known: gpt2, "),
    ("task: story", "task: stroy", "runs.writer.task: unknown 'stroy' (did you mean 'story'? "),
    ("kind: numeric", "kind: numeral", "tasks.numbers.kind: unknown 'numeral' (did you mean 'numeric'? "),
    ("kind: chars", "kind: char", "tasks.story.tokenizer.kind: unknown 'char' (did you mean 'chars'? "),
    ("spec: classic", "spec: clasic", "tasks.numbers.spec: input should be 'classic' or 'modular', not \"clasic\""),
    ("length: 8", "length: 8, sequence_types: [arithmtic]", "interpret.sequence_types: unknown 'arithmtic' (did you mean 'arithmetic'? "),
    ("length: 8", "length: 8, analyses: [attention_map]", "interpret.analyses: unknown 'attention_map' (did you mean 'attention_maps'? "),
    ("budget: study", "budget: stduy", "budget: unknown 'stduy' (did you mean 'study'? known: full, paper, smoke, study)"),
    ("budget: study", "budget: [study]", "budget: unknown ['study'] "),
    ("{smoke: 1, study: 1, full: 1, paper: 1}", "{smoke: 1, study: 1}", "runs.linear.seeds: has no value for budget 'full'; add one beside smoke, study"),
    ("device: cpu", "device: gpu", "device: unknown 'gpu'; use auto, cpu, cuda, cuda:N or mps"),
    ("device: cpu", "device:", "device: must be auto, cpu, cuda, cuda:N or mps, not None"),
    # types and numbers
    ("threads: 1", "threads: two", "threads: must be a whole number from 1 to 1024, not 'two'"),
    ("threads: 1", "threads: 99999999999", "threads: must be a whole number from 1 to 1024, not 99999999999"),
    ("seeds: 2", "seeds: true", "runs.softmax.seeds: input should be a valid integer, not true"),
    ("seeds: 2", "seeds: -1", "runs.softmax.seeds: must not be negative, not -1"),
    ("{steps: 20", "{steps: 1e3", "runs.softmax.training.steps: input should be a valid integer, not 1000.0"),
    (RATE, 'validate_every: 10, lr: "0.002"', 'runs.softmax.training.lr: input should be a valid number, not "0.002"'),
    (RATE, "validate_every: 10, lr: 1e400", "runs.softmax.training.lr: input should be a finite number, not Infinity"),
    (RATE, "validate_every: 10, lr: .nan", "runs.softmax.training.lr: input should be a finite number, not NaN"),
    (RATE, "validate_every: 10, lr: NaN", 'runs.softmax.training.lr: input should be a valid number, not "NaN"'),
    (RATE, "validate_every: 10, lr: 0", "runs.softmax.training.lr: must be above 0, not 0"),
    (RATE, "validate_every: 12, lr: 0.002", "runs.softmax.training.validate_every: 12 is no multiple of log_every 5"),
    ("long_lengths: [32, 48]", "long_lengths: [70000]", "tasks.numbers.long_lengths: 70000 terms are too many; give at most 65535"),
    # what does not fit together
    (HEADS, HEADS.replace("2", "3"), "runs.softmax.model.n_head: 3 does not divide d_model 16; choose a divisor"),
    (HEADS, "rope_theta: 0, " + HEADS, "runs.softmax.model.rope_theta: must be above 0, not 0"),
    (HEADS, "positions: learned, block_size: 16, " + HEADS, "runs.softmax.model: takes at most 16 tokens at once, its training gives it 31; lengthen it"),
    ("{steps: 10, ", "{steps: 10, examples: 3, ", "runs.writer.training.examples: a stream has no number of them; set data: fixed"),
    ("{steps: 10, ", "{steps: 10, max_steps_per_epoch: 3, ", "runs.writer.training.max_steps_per_epoch: steps are counted in epochs only where"),
    ("{steps: 20,", "{steps: 20, epochs: 2,", "runs.softmax.training.steps: give either steps or epochs, and not both"),
    ("data: fixed, epochs", "epochs", "runs.linear.training.epochs: a stream never ends; set data: fixed, or give steps"),
    # texts
    ("source: corpus.txt", "source: corpsu.txt", "tasks.story.source: no such file or folder 'corpsu.txt' "),
    ("source: corpus.txt", 'source: ""', "tasks.story.source: '' names nothing; give "),
    ("source: corpus.txt", "source: 'hub:'", "tasks.story.source: 'hub:' names nothing; give "),
    ("source: corpus.txt", "source: corpus.txt, limit: 5", "tasks.story.limit: a single file is one document; remove the parameter, or set lines: true"),
    ("source: corpus.txt", "source: corpus.txt, lines: true, limit: 0", "tasks.story.limit: 0; give at least 1"),
    ("source: corpus.txt", "source: wikipdia", "tasks.story.source: no such file or folder 'wikipdia' (did you mean 'wikipedia'? "),
    ("source: corpus.txt", "source: corpus.txt, share: 2", "tasks.story.share: 2.0 is no share of the documents; give 0 < share <= 1"),
    ("source: corpus.txt", "sources: [{source: corpsu.txt}]", "tasks.story.sources.0.source: no such file or folder 'corpsu.txt' "),
    ("source: corpus.txt", "sources: [{source: corpus.txt, weight: -1}]", "tasks.story.sources.0.weight: must not be negative, not -1"),
    ("source: corpus.txt", "sources: [{source: corpus.txt, weight: 0}]", "tasks.story.sources: all weights are 0, so there is nothing to train on; "),
    ("source: corpus.txt", "sources: [{source: corpus.txt}, {source: corpus.txt}]", "tasks.story.sources: two are called 'corpus'; rename a file or folder"),
    ("source: corpus.txt", "source: 3seqs, sources: [{source: notebook}]", "tasks.story.source: belongs to an entry of sources; move it there"),
    (TOKENIZER, "tokenizer: {kind: bytes, vocab_size: 300}", "tasks.story.tokenizer.vocab_size: bytes has a vocabulary of its own; remove the parameter"),
    (TOKENIZER, "tokenizer: chars", 'tasks.story.tokenizer: input should be an object, not "chars"'),
    (TOKENIZER, "tokenizer: {kind: bpe}", "tasks.story.tokenizer.vocab_size: None; bpe needs one, of at least 257"),
    ("validation: 0.2", "validation: 0", "tasks.story.validation: 0.0 is no share of the text; give 0 < validation < 1"),
    ("validation: 0.2", "validation: 1", "tasks.story.validation: 1.0 is no share of the text; give 0 < validation < 1"),
    ("test: 0.2", "test: 0.8", "tasks.story.test: 0.8 is no share of what validation leaves; give 0 <= test < 0.8"),
    # samples
    ("{temperature: 0}", "{top_p: 1.5}", "samples.settings.greedy.top_p: must be in (0, 1], not 1.5"),
    ("{temperature: 0}", "{temperature: 1.0e-40}", "samples.settings.greedy.temperature: must be 0 (greedy) or at least 1e-06, not 1e-40"),
    ("prompts: [The]", "prompts: The", 'samples.prompts: input should be a valid array, not "The"'),
    ("prompts: [The]", 'prompts: [" "]', "samples.prompts: one is empty; write the beginning of a text"),
    ("length: 5", "length: 5, seed: 99999999999999999999", "samples.seed: must be from 0 to 9223372036854775807, not 99999999999999999999"),
    # sweeps
    (GRID, "training.rate: [0.1]", "sweeps.rates.grid.training.rate: unknown parameter "),
    (GRID, "trainig.lr: [0.1]", "sweeps.rates.grid.trainig.lr: a grid changes a run's model, training and task; write model.NAME, training.NAME or task.NAME"),
    (GRID, "seeds: [1, 2]", "sweeps.rates.grid.seeds: a grid changes a run's model, training and task; "),
    (GRID, "training.lr.x: [0.1]", "sweeps.rates.grid.training.lr.x: lr is not a block of parameters"),
    (GRID, "training.lr: 0.1", "sweeps.rates.grid.training.lr: input should be a valid array, not 0.1"),
    (GRID, "training.lr: []", "sweeps.rates.grid.training.lr: has no values; give at least one"),
    (GRID, "training.lr: [0.1, high]", 'sweeps.rates.grid.training.lr: input should be a valid number, not "high"'),
    (GRID, "model.n_head: [2, 3]", "sweeps.rates.grid.model.n_head: 3 does not divide d_model 16; choose a divisor"),
    (f"{{{GRID}, training.steps: [5]}}", "{}", "sweeps.rates.grid: is empty; name a parameter and its values"),
    ("grid:", "gird:", "sweeps.rates.gird: unknown parameter (did you mean 'grid'? "),
    ("base: runs.softmax", "base: runs.sofmax", "sweeps.rates.base: unknown 'sofmax' (did you mean 'softmax'? "),
    ("base: runs.softmax", "base: softmax", "sweeps.rates.base: 'softmax' is no block to start from; write runs.NAME or variants.GROUP"),
    ("softmax, task: numbers", "softmax, task: story", "sweeps.rates.task: is 'story', but its run softmax is trained on 'numbers'; write that"),
    # names, which become those of stages and files
    ("  softmax:", "  soft max:", "runs.soft max: a name is text of letters, digits, _ and -; choose another"),
    ("  softmax:", "  soft/max:", "runs.soft/max: a name is text of letters, digits, _ and -; choose another"),
    ("  softmax:", "  ../max:", "runs.../max: a name is text of letters, digits, _ and -; choose another"),
    ("  softmax:", "  1:", "runs.1: a name is text of letters, digits, _ and -; choose another"),
    ("  story:", '  "":', "tasks.: a name is text of letters, digits, _ and -; choose another"),
    # blocks that are none
    ("sweeps:\n  rates: ", "sweeps:\n  - ", "sweeps: must be a block of named entries, not ["),
    ("  writer:\n", "  other:\n  writer:\n", "runs.other: must be a block of parameters, not None"),
    ("  writer:\n", "  other: [1]\n  writer:\n", "runs.other: must be a block of parameters, not [1]"),
    (f"model: {{{LSTM}}}", "model:", "runs.writer.model: input should be an object, not null"),
    ("{greedy: {temperature: 0}}", "{greedy: }", "samples.settings.greedy: input should be an object, not null"),
]


@pytest.mark.parametrize(("old", "new", "start"), PARAMETERS, ids=[start.split(": ")[0] + " " + new.split("\n")[0][:30] for _, new, start in PARAMETERS])
def test_a_mistake_in_the_parameters_is_named_before_any_work(study, refusal, old, new, start):
    edit((old, new))
    assert refusal(stage(check)).startswith(start)
    assert sorted(path.name for path in study.iterdir()) == ["corpus.txt", "params.yaml"]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"a: [1\n", "params.yaml: is not YAML: line 2, column 1: did not find expected ',' or ']'; mend it there"),
        (
            PARAMS.replace("\n  softmax:", "\n\tsoftmax:").encode(),
            "params.yaml: is not YAML: line 10, column 1: found character that cannot start any token",
        ),
        (PARAMS.replace("  linear:", "  softmax:").encode(), 'params.yaml: is not YAML: line 15, column 3: found duplicate key "softmax"'),
        (PARAMS.replace("The", "Thé").encode("latin-1"), "params.yaml: is not YAML: 'utf-8' codec can't decode byte 0xe9"),
        (b"budget: study\0\n", "params.yaml: is not YAML: unacceptable character"),
        (b"", "params.yaml: holds no parameters; write blocks such as tasks: and runs:"),
        (b"- study\n", "params.yaml: holds no parameters; "),
        (b"budget: study\nruns: 0\n", "runs: must be a block of named entries, not 0"),
        (None, "params.yaml: no such file; run from the folder that holds params.yaml"),
    ],
    ids=["open bracket", "tab", "twice", "latin-1", "zero byte", "empty", "list", "no block", "missing"],
)
def test_a_broken_file_of_parameters_is_named_with_the_place(study, refusal, content, start):
    Path("params.yaml").unlink()
    if content is not None:
        Path("params.yaml").write_bytes(content)
    assert refusal(stage(check)).startswith(start)


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_named(study, refusal, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    edit(("device: cpu", f"device: {name}"))
    assert refusal(stage(check)) == f"device: {name} is not on this machine; use auto or cpu"


def test_a_mistake_at_another_budget_is_found_too(study, refusal):
    edit(("{steps: 20,", "{steps: {smoke: 1, study: 20, full: many, paper: 3},"))
    assert refusal(stage(check)) == 'runs.softmax.training.steps: input should be a valid integer, not "many"'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seeds: 2", "seeds: 0"),  # not part of this budget
        ("  softmax:\n    task", "  study:\n    task"),  # a name is a name, also one that is a budget's
        ("  writer:", "  süß-2_b:"),
        ("source: corpus.txt", "source: fables, stories: 5"),
        ("source: corpus.txt", "sources: [{source: tinystories, weight: 0.75}, {source: notebook, weight: 0.25}, {source: 3seqs, weight: 0}]"),
        ("{steps: 10, ", "{data: fixed, epochs: 2, max_steps_per_epoch: 3, examples: 1, "),
        ("prompts: [The]", "prompts: []"),
    ],
)
def test_what_is_no_mistake_passes(study, old, new):
    edit((old, new), *([("base: runs.softmax", "base: runs.study")] if "study" in new else []))
    stage(check)()
    assert json.loads(Path("data/plans/generate/story.json").read_text())["parameters"]["budget"] == "study"


# Corpora and tokens


def test_a_corpus_that_is_no_text_leaves_what_was_made_before(study, refusal):
    stage(generate, "story")()
    before = {path.name: path.read_bytes() for path in Path("data/raw/story").iterdir()}
    for content, message in (
        (b"", "tasks.story.source: holds no text; name another"),
        (b"ab", "tasks.story.validation: its share of 2 documents leaves validation empty; change the share, or use more text (a single file is split inside)"),
        (b"The hare \xff\xfe", "corpus.txt: is not UTF-8 at byte 9; convert it (iconv -t UTF-8), or leave it out"),
    ):
        Path("corpus.txt").write_bytes(content)
        assert refusal(stage(generate, "story")) == message
        assert {path.name: path.read_bytes() for path in Path("data/raw/story").iterdir()} == before
    Path("corpus.txt").unlink()
    assert refusal(stage(generate, "story")).startswith("tasks.story.source: no such file or folder 'corpus.txt' ")


def test_a_corpus_that_does_not_fit_its_parameters_is_named(study, refusal):
    stage(generate, "story")()
    edit((TOKENIZER, "tokenizer: {kind: bpe, vocab_size: 5000}"))
    assert refusal(stage(tokenize, "story")).startswith("tasks.story.tokenizer.vocab_size: the training text yields ")
    edit(("tokenizer: {kind: bpe, vocab_size: 5000}", TOKENIZER))
    stage(tokenize, "story")()
    tokens = open_tokens(Path("data/tokens/story"))
    recipe = Recipe(steps=1, context=5000)
    for feed in (lambda: batches.training(tokens, recipe, 0), lambda: batches.validation(tokens, recipe)):
        assert "tokens, fewer than one context of 5000 and a target; shorten training.context or use a larger corpus" in refusal(feed)
    Path("corpus.txt").write_text(CORPUS + "ZZZ")
    stage(generate, "story")()
    assert refusal(stage(tokenize, "story")).startswith("tasks.story.tokenizer.kind: chars knows only the training text, which has no 'Z' (U+005A); ")


def test_a_folder_skips_its_empty_files_and_names_one_that_is_no_text(study, refusal):
    folder = Path("texts/inner")
    folder.mkdir(parents=True)
    for n in range(30):
        (folder / f"{n}.txt").write_text(f"The hare {n}" * (n > 0))
    edit(("source: corpus.txt", "source: texts"))
    stage(generate, "story")()
    metrics = read_record(Path("metrics/generate/story.json"))
    assert metrics["empty_documents"] == 1
    assert sum(split["documents"] for split in metrics["splits"].values()) == 29
    (folder / "7.txt").write_bytes(b"The h\xe4re")
    assert refusal(stage(generate, "story")) == "texts/inner/7.txt: is not UTF-8 at byte 5; convert it (iconv -t UTF-8), or leave it out"


def test_a_corpus_of_one_token_is_too_short_to_train_on(study, refusal):
    Path("corpus.txt").write_text("".join(f"{letter}\n" for letter in "abcdefghijklmnopqrstuvwxyz"))
    edit(("source: corpus.txt", "source: corpus.txt, lines: true"), (TOKENIZER, "tokenizer: {kind: bytes}"))
    stage(generate, "story")()
    stage(tokenize, "story")()
    tokens = open_tokens(Path("data/tokens/story"))
    message = "tokens, fewer than one context of 64 and a target; shorten training.context or use a larger corpus"
    assert message in refusal(lambda: batches.training(tokens, Recipe(epochs=1, data="fixed", context=64), 0))
    assert "has 3 " + message.replace("64", "3") in refusal(lambda: batches.training(tokens, Recipe(epochs=1, data="fixed", context=3, examples=1), 0))


# Commands on a model


@pytest.fixture
def trained(study) -> Path:
    """Checkpoints of untrained models: numbers with a learned table of positions, the endless document of one file, and whole documents."""
    numbers = {"kind": "transformer", "positions": "learned", "block_size": 12, "d_model": 16, "n_head": 2, "n_layer": 1}
    characters = {"kind": "chars", "characters": "".join(sorted(set(CORPUS)))}
    for run, block, vocab_size, tokenizer, whole in (
        ("softmax", numbers, 128, {"kind": "integers", "pad": 127}, False),
        ("writer", {"kind": "lstm", "d_model": 16}, len(characters["characters"]) + 1, characters, False),
        ("linear", {"kind": "lstm", "d_model": 16}, len(characters["characters"]) + 1, characters, True),
    ):
        folder = study / "data/checkpoints" / run
        facts = {"run": run, "model": block, "tokenizer": tokenizer, "whole": whole, "targets": False}
        save_model(folder / "seed0", models.build(block, vocab_size, "model"), facts)
        (folder / "run.json").write_text(json.dumps({"run": run, "seeds": [0]}))
    return study


@pytest.fixture
def command(monkeypatch):
    """command("info", "x") is what `python -m picollm info x` runs."""

    def main(*words: str):
        monkeypatch.setattr("sys.argv", ["picollm", *words])
        return cli.main

    return main


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["info", "sofmax"], "sofmax: no such run (did you mean 'softmax'? known: linear, softmax, writer)"),
        (["sample", "sofmax", "--prompt", "1"], "sofmax: no such run (did you mean 'softmax'? "),
        (["sample", "writer", "--prompt", "The", "--model-seed", "7"], "data/checkpoints/writer/seed7: no such model; the run has seed0"),
        (["sample", "writer", "--prompt", "The", "--top-p", "1.5"], "sample.top_p: must be in (0, 1], not 1.5"),
        (["sample", "writer", "--prompt", "The", "--top-p", "nan"], "sample.top_p: input should be a finite number, not NaN"),
        (["sample", "writer", "--prompt", "The", "--top-k", "0"], "sample.top_k: must be at least 1, not 0"),
        (["sample", "writer", "--prompt", "The", "--temperature", "-1"], "sample.temperature: must be 0 (greedy) or at least 1e-06, not -1"),
        (["sample", "writer", "--prompt", "The", "--length", "0"], "Invalid value for '--length': "),
        (["sample", "writer", "--prompt", "The", "--seed", "99999999999999999999"], "Invalid value for '--seed': "),
        (["sample", "writer", "--prompt", "Zebra"], "prompt: chars knows only the training text, which has no 'Z' (U+005A); take bpe or gpt2, or leave it out"),
        (["sample", "writer", "--prompt", "\udcff"], "prompt: chars knows only the training text, which has no '\\udcff' (U+DCFF); "),
        (["sample", "writer", "--prompt", ""], "prompt: is empty; give at least one token"),
        (["sample", "softmax", "--prompt", " "], "prompt: is empty; give at least one token"),
        (["sample", "softmax", "--prompt", "1 2 127"], "prompt: '127' is outside the vocabulary; use integers from 0 to 126, separated by spaces"),
        (["sample", "softmax", "--prompt", "1 2 -3"], "prompt: '-3' is outside the vocabulary; "),
        (["sample", "softmax", "--prompt", "1 two"], "prompt: 'two' is outside the vocabulary; "),
        (["sample", "softmax", "--prompt", "5 " * 13], "prompt: 13 tokens and 1 new ones exceed the model's longest sequence of 12; shorten either"),
        (["sample", "softmax"], "Missing option '--prompt'; see python -m picollm --help"),
        (["smaple"], "No such command 'smaple'. Did you mean 'sample'?; see python -m picollm --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_asks_for_the_impossible(trained, refusal, command, words, start):
    assert refusal(command(*words)).startswith(start)


def test_commands_before_there_is_anything(study, refusal, command, capsys):
    assert refusal(command("sample", "writer", "--prompt", "The")) == "writer: is not trained yet; run `dvc repro train@writer` or make study"
    with pytest.raises(SystemExit) as caught:
        command("info")()
    assert not caught.value.code
    assert capsys.readouterr().out.startswith("nothing has been compared yet: make study")
    for content, start in ((b"runs: [writer]\n", "runs: must be a block of named entries"), (b"runs: [\n", "params.yaml: is not YAML")):
        Path("params.yaml").write_bytes(content)
        assert refusal(command("info", "writer")).startswith(start)
    Path("params.yaml").unlink()
    assert refusal(command("info", "writer")).startswith("params.yaml: no such file; run from the folder that holds params.yaml")


def test_only_a_model_of_whole_documents_begins_a_text_by_itself(trained, refusal, command, capsys):
    assert refusal(command("sample", "writer", "--prompt", "")) == "prompt: is empty; give at least one token"
    with pytest.raises(SystemExit) as caught:
        command("sample", "linear", "--prompt", "")()
    assert not caught.value.code
    assert capsys.readouterr().out.strip()


def test_a_prompt_of_the_parameters_that_the_model_cannot_spell(trained, refusal):
    folder = trained / "data/checkpoints/writer/seed0"
    samples = parse(Samples, {"prompts": ["Zebra"]}, "samples")
    assert refusal(lambda: sample_all(load(folder), read_config(folder), samples)).startswith("samples.prompts: chars knows only the training text, ")


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("spoil", "start"),
    [
        (lambda folder: weights(folder).write_bytes(weights(folder).read_bytes()[:-8]), "seed0/model.safetensors: truncated or not a safetensors file"),
        (lambda folder: weights(folder).write_text("hello"), "seed0/model.safetensors: truncated or not a safetensors file"),
        (lambda folder: weights(folder).unlink(), "seed0/model.safetensors: no such file; train the run again (dvc repro)"),
        (lambda folder: shutil.copy(weights(folder.parents[1] / "writer/seed0"), folder), "seed0: the weights do not fit the model that config.json describes"),
        (lambda folder: (folder / "config.json").unlink(), "seed0/config.json: no such file; run the stage that makes it (dvc repro)"),
        (lambda folder: (folder / "config.json").write_text('{"format": 1'), "seed0/config.json: is not JSON "),
        (
            lambda folder: (folder / "config.json").write_text('{"architectures": ["GPT2"]}'),
            "seed0/config.json: not a checkpoint of format 1; train the run again",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"format": 1, "model": {"kind": "lstm"}, "vocab_size": 3}'),
            "seed0/config.json: says nothing of targets, tokenizer, whole; train the run again (dvc repro)",
        ),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_named(trained, refusal, command, spoil, start):
    spoil(trained / "data/checkpoints/softmax/seed0")
    assert refusal(command("sample", "softmax", "--prompt", "1 2")).startswith(f"data/checkpoints/softmax/{start}")


def test_a_model_that_answers_and_does_not_continue_is_not_sampled(trained, refusal, command):
    config = trained / "data/checkpoints/softmax/seed0/config.json"
    config.write_text(config.read_text().replace('"targets": false', '"targets": true'))
    assert (
        refusal(command("sample", "softmax", "--prompt", "1 2"))
        == "softmax: answers about the tokens it is given, and does not continue them; sample a run of another task"
    )


# The real commands


class Laid:
    """A laid out project and how its commands end."""

    def __init__(self, checkout) -> None:
        self.checkout, self.path = checkout, checkout.path
        (self.path / "params.yaml").write_text(PARAMS)
        (self.path / "corpus.txt").write_text(CORPUS)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=self.path, env=self.checkout.environment, capture_output=True, text=True, timeout=120, check=False)

    def refusal(self, *words: str) -> str:
        ended = self.run("python", "-m", *words)
        assert ended.returncode == 1
        assert ended.stdout == ""
        return one_line(ended.stderr)

    def edit(self, old: str, new: str) -> None:
        text = (self.path / "params.yaml").read_text()
        assert old in text
        (self.path / "params.yaml").write_text(text.replace(old, new, 1))

    def files(self) -> dict[str, bytes]:
        """Everything that the stages but `check` made, DVC's record of it included."""
        data = [path for path in (self.path / "data").glob("*/**/*") if "plans" not in path.parts]  # no result: the check writes them again
        made = [*data, *(self.path / "metrics").rglob("*"), self.path / "dvc.lock"]
        return {str(path.relative_to(self.path)): path.read_bytes() for path in made if path.is_file()}


@pytest.fixture(scope="module")
def laid(laying_out, tmp_path_factory) -> Laid:
    """With the tokens of `story`, made by DVC."""
    path = tmp_path_factory.mktemp("bad") / "checkout"
    path.mkdir()
    laid = Laid(laying_out(path))
    ended = laid.run("dvc", "repro", "tokenize@story")
    assert ended.returncode == 0, ended.stderr
    return laid


def test_dvc_stops_before_any_work_and_nothing_is_lost(laid):
    before = laid.files()
    assert "data/tokens/story/train.bin" in before
    laid.edit(LSTM, "kind: lstmm, d_model: 16")
    ended = laid.run("dvc", "repro")
    laid.edit("lstmm", "lstm")
    assert ended.returncode != 0
    assert laid.checkout.stages(ended.stdout) == {"check"}
    assert [line for line in ended.stderr.splitlines() if line.startswith("error: ")] == [
        f"error: runs.writer.model.kind: unknown 'lstmm' (did you mean 'lstm'? known: {', '.join(registry.names('models'))})"
    ]
    assert "Traceback" not in ended.stderr
    assert laid.files() == before


def test_what_a_failed_stage_had_made_before_comes_back(laid):
    before = laid.files()
    laid.edit(TOKENIZER, "tokenizer: {kind: bpe, vocab_size: 5000}")
    ended = laid.run("dvc", "repro", "tokenize@story")
    assert ended.returncode != 0
    assert "error: tasks.story.tokenizer.vocab_size: the training text yields " in ended.stderr
    laid.edit("tokenizer: {kind: bpe, vocab_size: 5000}", TOKENIZER)
    ended = laid.run("dvc", "repro", "tokenize@story")
    assert ended.returncode == 0, ended.stderr
    assert laid.checkout.stages(ended.stdout) <= {"check"}
    assert laid.files() == before


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["stages", "generate", "stroy"], "tasks.stroy: no such entry (did you mean 'story'? known: numbers, story)"),
        (["stages", "train"], "usage: python -m stages STAGE, which is one of check, generate NAME, "),
        (["stages", "check", "all"], "usage: python -m stages STAGE, "),
        (["stages", "trian", "writer"], "usage: python -m stages STAGE, "),
        (["picollm", "sample", "writer", "--prompt", "The"], "writer: is not trained yet; run `dvc repro train@writer` or make study"),
        (["picollm", "sample", "writer", "--prompt", "The", "--top-p", "7"], "sample.top_p: must be in (0, 1], not 7"),
        (["picollm", "smaple"], "No such command 'smaple'. Did you mean 'sample'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_real_commands_end_in_one_line(laid, words, start):
    assert laid.refusal(*words).startswith(start)


def test_a_real_check_of_a_file_with_a_tab(laid):
    good = (laid.path / "params.yaml").read_text()
    (laid.path / "params.yaml").write_text(good.replace("\n  softmax:", "\n\tsoftmax:"))
    try:
        assert laid.refusal("stages", "check").startswith("params.yaml: is not YAML: line 10, column 1: found character that cannot start any token")
    finally:
        (laid.path / "params.yaml").write_text(good)


def test_a_real_stage_on_foreign_tokens(laid):
    """Of the right size, from another task perhaps: here with ids beyond the vocabulary."""
    block = {"kind": "lstm", "d_model": 16}
    folder = laid.path / "data/checkpoints/writer"
    save_model(folder / "seed0", models.build(block, open_tokens(laid.path / "data/tokens/story").vocab_size, "model"), {"model": block})
    (folder / "run.json").write_text('{"run": "writer", "seeds": [0]}')
    path = laid.path / "data/tokens/story/train.bin"
    size = path.stat().st_size
    path.unlink()  # DVC's cache may hold the same file
    path.write_bytes(np.full(size // 2, 60_000, "<u2").tobytes())
    assert laid.refusal("stages", "interpret", "writer") == (
        "data/tokens/story/train.bin: is not the file that its header describes: damaged or foreign; remove data/tokens/story and run dvc repro"
    )
    assert not (laid.path / "metrics/interpret").exists()
