"""A small stored task of each kind, and tiny untrained models to look into."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm import models
from picollm.analysis._options import Options
from picollm.analysis._result import Subject
from picollm.core.config import parse
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.tasks import addition, numeric, parity, recall, text, urn
from picollm.tokenizers.chars import Tokenizer
from picollm.training.checkpoints import save_model

TEXT = "the cat sat on the mat, and the dog sat on the log. " * 40


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """{"numeric", "modular", "parity", "recall", "urn", "addition", "text"}: a folder with raw/ and tokens/ each."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("numeric", "modular", "parity", "recall", "urn", "addition", "text")}
    few = {"train": 4, "validation": 4, "test": 4, "long": 4, "long_lengths": [64]}
    for name, task, block in (
        ("numeric", numeric, {"kind": "numeric", "spec": "classic", **few, "test": 600, "long": 100, "long_lengths": [48]}),
        ("modular", numeric, {"kind": "numeric", "spec": "modular", **few, "test": 600, "long": 100, "long_lengths": [48], "heldout": 100}),
        ("parity", parity, {"kind": "parity", **few, "test": 200}),
        ("recall", recall, {"kind": "recall", **few}),
        ("urn", urn, {"kind": "urn", **few}),
        ("addition", addition, {"kind": "addition", **few, "test": 200}),
    ):
        config = parse(task.Config, block, f"tasks.{name}")
        task.generate(config, folders[name] / "raw")
        task.tokenize(config, folders[name] / "raw", folders[name] / "tokens")
    tokenizer = Tokenizer.train([TEXT], None)
    ids = np.array([tokenizer.end, *tokenizer.encode(TEXT)])
    out = folders["text"] / "tokens"
    splits = {name: write_split(out, name, [ids], tokenizer.vocab_size, whole=True) for name in ("train", "validation", "test")}
    write_header(out, kind="text", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.to_json(), splits=splits)
    return folders


@pytest.fixture(scope="session")
def fables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of annotated stories, which take seconds: only for those that ask."""
    folder = tmp_path_factory.mktemp("fables")
    tokenizer = {"kind": "bpe", "vocab_size": 400}
    config = parse(text.Config, {"kind": "text", "source": "fables", "stories": 240, "validation": 0.05, "test": 0.5, "tokenizer": tokenizer}, "tasks.fables")
    text.generate(config, folder / "raw")
    text.tokenize(config, folder / "raw", folder / "tokens")
    return folder


@pytest.fixture(scope="session")
def make(stored: dict[str, Path], request: pytest.FixtureRequest) -> Callable[..., Subject]:
    """make(data="text", options={...}, n_layer=1, ...): a subject whose model has fresh weights; data="fables" too."""

    def subject(data: str = "numeric", options: dict[str, object] | None = None, **block: object) -> Subject:
        folder = stored[data] if data in stored else request.getfixturevalue(data)
        tokens = open_tokens(folder / "tokens")
        small = {"d_model": 32, **({} if "kind" in block else {"kind": "transformer", "n_head": 2}), **block}
        with torch.random.fork_rng():
            torch.manual_seed(100)
            model = models.build(small, tokens.vocab_size, "model").eval()
        return Subject(model, tokens, folder / "raw", parse(Options, options or {}, "interpret"))

    return subject


@pytest.fixture(scope="session")
def silence() -> Callable[[Subject], None]:
    """silence(subject): all queries and keys become 0, and every score alike."""

    def silenced(subject: Subject) -> None:
        D = subject.model.config.d_model
        for block in subject.model.blocks:
            with torch.no_grad():
                block.attention.qkv.weight[: 2 * D] = 0
                block.attention.qkv.bias[: 2 * D] = 0

    return silenced


def _saver(folder: Path) -> Callable[..., Path]:
    def save(name: str, model: models.Model, **facts: object) -> Path:
        save_model(folder / name, model, {"model": asdict(model.config), **facts})
        return folder / name

    return save


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """saved("seed1", model, step=3): the folder of a checkpoint."""
    return _saver(tmp_path)


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same, for fixtures that many tests share."""
    return _saver(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Subject]:
    """tell(options={...}, n_layer=1, ...): the same for a small task of fables."""
    folder = tmp_path_factory.mktemp("fables")
    block = {"kind": "text", "source": "fables", "stories": 400, "validation": 0.05, "test": 0.05, "tokenizer": {"kind": "bpe", "vocab_size": 400}}
    config = parse(text.Config, block, "tasks.fables")
    text.generate(config, folder / "raw")
    text.tokenize(config, folder / "raw", folder / "tokens")
    tokens = open_tokens(folder / "tokens")

    def subject(options: dict[str, object] | None = None, **block: object) -> Subject:
        with torch.random.fork_rng():
            torch.manual_seed(100)
            small = {"d_model": 32, **({} if "kind" in block else {"kind": "transformer", "n_head": 2}), **block}
            model = models.build(small, tokens.vocab_size, "model").eval()
        return Subject(model, tokens, folder / "raw", parse(Options, {"untrained": 2, **(options or {})}, "interpret"))

    return subject
