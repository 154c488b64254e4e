"""A small study's folder: stored tasks, and checkpoints of tiny untrained models of several kinds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from picollm import models
from picollm.core.config import parse
from picollm.core.files import write_json
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.tasks import addition, numeric
from picollm.tokenizers.chars import Tokenizer
from picollm.training.checkpoints import save_model

TEXT = "the cat sat on the mat <b>, and the $dog sat on the log.\n" * 40
SMALL = {"kind": "transformer", "n_layer": 2, "n_head": 2, "d_model": 16}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("numbers", SMALL),
    "normed": ("numbers", {**SMALL, "output_norm": True, "n_kv_head": 1}),
    "linear": ("numbers", {**SMALL, "attention": "linear", "n_head": 4}),
    "signed": ("numbers", {**SMALL, "attention": "gated_delta"}),
    "filters": ("numbers", {**SMALL, "attention": "convolution", "short_conv": 3}),
    "table": ("numbers", {**SMALL, "positions": "learned", "block_size": 16}),
    "adder": ("sums", {**SMALL, "n_layer": 1, "position_ids": "block", "column_window": 1, "sinks": True}),
    "writer": ("story", SMALL),
    "lstm": ("story", {"kind": "lstm", "d_model": 16}),
    "kgram": ("story", {"kind": "kgram", "k": 2, "d_model": 16}),
}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw, data/tokens and data/checkpoints/RUN/seed0 of the RUNS."""
    root = tmp_path_factory.mktemp("study")
    few = {"train": 4, "validation": 4, "test": 60, "long": 4}
    for name, task, block in (
        ("numbers", numeric, {"kind": "numeric", "spec": "classic", **few, "long_lengths": [48]}),
        ("sums", addition, {"kind": "addition", **few, "long_lengths": [4]}),
    ):
        config = parse(task.Config, block, f"tasks.{name}")
        task.generate(config, root / "data/raw" / name)
        task.tokenize(config, root / "data/raw" / name, root / "data/tokens" / name)
    _store_text(root)
    for run, (task_name, block) in RUNS.items():
        header = open_tokens(root / "data/tokens" / task_name).header
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = models.build(block, header["vocab_size"], "model")
            for parameter in model.parameters():  # as uneven as a trained model's
                parameter.data += 0.1 * torch.randn_like(parameter)
        facts = {"run": run, "seed": 0, "step": 3, "task": task_name, "kind": header["kind"], "model": block, "tokenizer": header["tokenizer"]}
        folder = root / "data/checkpoints" / run
        save_model(folder / "seed0", model, {**facts, "targets": task_name == "sums", "whole": task_name == "story", "context": 64})
        write_json(folder / "run.json", {"run": run, "seeds": [0]})
    return root


def _store_text(root: Path) -> None:
    tokenizer = Tokenizer.train([TEXT], None)
    ids = np.array([tokenizer.end, *tokenizer.encode(TEXT)])
    out = root / "data/tokens/story"
    splits = {name: write_split(out, name, [ids], tokenizer.vocab_size, whole=True) for name in ("train", "validation", "test")}
    write_header(out, kind="text", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.to_json(), splits=splits)
    (root / "data/raw/story").mkdir(parents=True)
