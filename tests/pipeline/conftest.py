"""A tiny study in a folder of its own, built once by the real commands; tests work on copies of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from picollm import forkserver
from tests import checkouts
from tests.checkouts import Checkout

PARAMS = """\
budget: study
device: cpu
threads: 2
samples: {prompts: [The], length: 5, settings: {greedy: {temperature: 0}}}
interpret: {length: 8, untrained: 1, analyses: [attention_maps, embedding_pca, modular_arithmetic, neuron_selectivity]}
tasks:
  numbers: {kind: numeric, spec: classic, train: 64, validation: 32, test: 32, long: 4, long_lengths: [32, 48]}
  story: {kind: text, source: data/corpora/hare.txt, validation: 0.2, test: 0.2, tokenizer: {kind: chars}}
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
variants:
  kinds:
    softmax: {kind: transformer, attention: softmax, n_layer: 1, n_head: 2, d_model: 16}
    linear: {kind: transformer, attention: linear, n_layer: 1, n_head: 2, d_model: 16}
sweeps:
  rates: {base: runs.softmax, task: numbers, seeds: 1, evaluate: false, grid: {training.lr: [0.001, 0.004], training.steps: [5]}}
  kinds:
    base: variants.kinds
    task: numbers
    seeds: 2
    training: {steps: 5, batch_size: 4, log_every: 5, validate_every: 5}
    success: {metric: excess_48, at_most: 100}
pairs:
  both: {left: softmax/seed0, right: linear/seed0}
"""

# Written into every process of the pipeline: which of our modules did this stage import?
RECORDER = """\
import atexit, json, os, sys
def record():
    stage = os.environ.get("DVC_STAGE")
    if stage and "stages.__main__" in getattr(sys.modules.get("__main__"), "__spec__", sys).name:
        files = [getattr(m, "__file__", None) for n, m in list(sys.modules.items()) if n.split(".")[0] in ("picollm", "stages")]
        files += [sys.modules["__main__"].__file__]
        with open(os.path.join(os.environ["RECORD_IMPORTS"], stage.split(":")[-1] + ".json"), "w") as out:
            json.dump(sorted({os.path.relpath(f) for f in files if f}), out)
if os.environ.get("RECORD_IMPORTS"):
    atexit.register(record)
"""


def lay_out(path: Path) -> Checkout:
    """The project's code, a small params.yaml and a corpus."""

    def small(path: Path) -> None:
        (path / "params.yaml").write_text(PARAMS)
        (path / "data/corpora/hare.txt").write_text("The hare and the hound ran over the hill. " * 40)

    parts = (".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "picollm", "stages", "pyproject.toml", "data")
    return checkouts.lay_out(path, lambda name: name.split("/")[0] in parts, small)


@pytest.fixture(scope="session")
def forked() -> Iterator[dict[str, str]]:
    """An environment in which stages are forks, as they are under `python -m picollm study`."""
    with forkserver.running() as environment:
        yield environment


@pytest.fixture(scope="session")
def laying_out(forked) -> Callable[[Path], Checkout]:
    """`lay_out`, for tests that build in a folder of their own. Stages there are forks."""

    def laid(path: Path) -> Checkout:
        checkout = lay_out(path)
        return Checkout(path=checkout.path, environment=checkout.environment | forked)

    return laid


@pytest.fixture(scope="session")
def built(tmp_path_factory, forked) -> Checkout:
    """The small study after one `dvc repro` whose stages are processes of their own; read it, or copy it. Stages of a copy are forks."""
    path = tmp_path_factory.mktemp("study") / "checkout"
    path.mkdir()
    checkout = lay_out(path)
    recorder, record = path.parent / "recorder", path.parent / "imports"
    recorder.mkdir()
    record.mkdir()
    (recorder / "sitecustomize.py").write_text(RECORDER)
    recording = {**checkout.environment, "PYTHONPATH": str(recorder), "RECORD_IMPORTS": str(record)}
    checkout.log = Checkout(path=path, environment=recording).run("dvc", "repro", timeout=900).stdout  # whatever else the machine does
    checkout.imports = record
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-q", "-m", "its results")
    checkout.environment |= forked
    return checkout


@pytest.fixture
def checkout(built, tmp_path) -> Checkout:
    """A copy of the built study to change."""
    return built.copy(tmp_path / "checkout")
