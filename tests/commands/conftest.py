"""A folder with the parameters and the models of a small study, untrained: what commands do with a model does not depend on what it has learned."""

import json
import threading
from pathlib import Path

import pytest
import torch

from picollm import models
from picollm.core.files import write_json
from picollm.tasks import numeric, urn
from picollm.training.checkpoints import save_model

LETTERS = "".join(sorted(set("The hare and the hound ran over the hill. é")))
CHARS = {"kind": "chars", "characters": LETTERS}
NUMBERS = {"kind": "integers", "pad": 127}
FORMAT = {"kind": "addition", "train": 8, "validation": 8, "test": 8, "long": 2, "digits": [1, 2], "padding": "fixed", "order": "reversed"}
SUMS = {"kind": "integers", "pad": 11, "addition": FORMAT}
SMALL = {"kind": "transformer", "d_model": 16, "n_head": 4, "n_layer": 2}
MODELS = {  # run: task, kind of task, model, tokenizer, whole documents
    "classic_linear": ("classic", "numeric", {**SMALL, "attention": "linear"}, NUMBERS, False),
    "short": ("classic", "numeric", {**SMALL, "positions": "learned", "block_size": 12}, NUMBERS, False),
    "walker": ("urn", "urn", {"kind": "lstm", "d_model": 16}, {"kind": "integers", "pad": 16}, False),
    "writer": ("story", "text", {"kind": "lstm", "d_model": 16}, CHARS, False),
    "teller": ("story", "text", SMALL, CHARS, True),
    "bytes": ("story", "text", SMALL, {"kind": "bytes"}, True),
    "filter": ("story", "text", {**SMALL, "attention": "convolution", "short_conv": 3}, CHARS, True),
    "adder": ("sums", "addition", SMALL, SUMS, False),
}
TASKS = """\
  classic: {kind: numeric, spec: classic, train: 8, validation: 8, test: 8, long: 2, long_lengths: [48]}
  urn: {kind: urn, train: 8, validation: 8, test: 8, long: 2, long_lengths: [96]}
  story: {kind: text, source: fables, stories: 4, tokenizer: {kind: chars}}
  sums: {kind: addition}
"""


def write_study(folder: Path) -> None:
    """In `folder`: params.yaml, data/checkpoints, and the facts of the tasks that have an exact predictor."""
    runs = [f"  {run}: {{task: {task}, seeds: 1, model: {json.dumps(block)}, training: {{steps: 5}}}}" for run, (task, _, block, _, _) in MODELS.items()]
    runs.append("  untrained: {task: classic, seeds: 1, model: {kind: lstm}, training: {steps: 5}}")
    (folder / "params.yaml").write_text("tasks:\n" + TASKS + "runs:\n" + "\n".join(runs) + "\nsweeps: {}\n")
    for run, (task, kind, block, tokenizer, whole) in MODELS.items():
        torch.manual_seed(0)
        size = {"chars": len(LETTERS) + 1, "bytes": 257, "integers": tokenizer.get("pad", 0) + 1}[tokenizer["kind"]]
        model = models.build(block, size, "model")
        for weight in model.parameters():  # away from the uniform beginning
            weight.data *= 4
        facts = {"run": run, "task": task, "kind": kind, "seed": 0, "model": block, "tokenizer": tokenizer, "whole": whole, "targets": kind == "addition"}
        for seed in range(2 if run == "classic_linear" else 1):
            save_model(folder / f"data/checkpoints/{run}/seed{seed}", model, facts)
        write_json(folder / f"data/checkpoints/{run}/run.json", {"run": run, "seeds": [0]})
    few = {"train": 8, "validation": 8, "test": 64, "long": 2}
    numeric.generate(numeric.Config(kind="numeric", spec="classic", long_lengths=[48], **few), folder / "data/raw/classic")
    urn.generate(urn.Config(kind="urn", long_lengths=[96], **few), folder / "data/raw/urn")


@pytest.fixture(scope="session")
def _written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture
def study(_written, monkeypatch) -> Path:
    """This process in the folder, which is only read."""
    monkeypatch.chdir(_written)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return _written


@pytest.fixture
def server(study):
    """That of the page, at an address of its own."""
    from picollm.serving.server import Server

    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def command(monkeypatch, capsys):
    """command("info", "x") is what `python -m picollm info x` prints, and how it ends."""
    from picollm import cli
    from picollm.core.errors import exit_on_user_error

    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["picollm", *words])
        with pytest.raises(SystemExit) as caught:
            exit_on_user_error(cli.main)
        captured = capsys.readouterr()
        assert (caught.value.code or 0) == code, captured.err
        return captured.out if code == 0 else captured.err

    return run
