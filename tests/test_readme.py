"""What the documents tell a reader to type can be typed, and what they point at exists."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from dvc.cli import DvcParserError, parse_args
from dvc.commands.repro import CmdRepro
from dvc.exceptions import InvalidArgumentError
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from typer.exceptions import TyperException

from picollm.cli import app
from picollm.core.config import BUDGETS, parse, read
from picollm.core.errors import UserError
from picollm.generation.sampling import Sampling
from picollm.study import Study

ROOT = Path(__file__).parents[1]
WITH_COMMANDS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
WITH_LINKS = [*WITH_COMMANDS, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)")
TARGET = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)
PROGRAMS = ("make", "dvc", "python", "pip", "mlflow", "source", "git")
OTHERS = {  # neither ours nor DVC's, so there is nothing to check them against
    "source .venv/bin/activate",
    "pip install torch --index-url",  # the address changes with PyTorch
    "mlflow ui",  # its own test opens it
}


def split(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, each as its words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word == "&&":
            yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def commands(text: str) -> Iterator[str]:
    """Every line of a bash block, and every code span in the prose that begins with a program and has arguments."""
    for language, block in BLOCK.findall(text):
        if language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                yield from map(shlex.join, split(line))
    for span in SPAN.findall(BLOCK.sub("", text)):
        words = span.split()
        if words[0] in PROGRAMS and len(words) > 1:
            yield from map(shlex.join, split(" ".join(words)))


TYPED = sorted({command for path in WITH_COMMANDS for command in commands(path.read_text())})


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder to change params.yaml in, with the reader's own text."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data/corpora").mkdir(parents=True)
    (tmp_path / "data/corpora/book.txt").write_text("A book.\n" * 1000)
    return tmp_path


def check_make(targets: list[str]) -> None:
    assert set(targets) <= set(TARGET.findall((ROOT / "Makefile").read_text()))


def check_picollm(words: list[str]) -> None:
    name, *arguments = words
    context = typer.main.get_command(app).commands[name].make_context(name, arguments)
    named = [context.params[key] for key in ("run",) if context.params.get(key)] + list(context.params.get("what") or [])
    assert set(named) <= set(read()["runs"])
    if name == "study":
        check_targets(context.params["targets"] or [], read())
    if name == "sample":
        parse(Sampling, {key: context.params[key] for key in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")}, name)


def check_dvc(words: list[str]) -> None:
    """DVC's own parser takes the words; what they set is applied by DVC's own code, and our check takes the result."""
    arguments = parse_args(words)
    if not issubclass(arguments.func, CmdRepro):
        return
    overrides = to_path_overrides(getattr(arguments, "set_param", []))
    assert set(overrides) <= {"params.yaml"}
    before = read()
    points = get_hydra_sweeps(overrides) if overrides else []
    assert len(points) <= 1 or arguments.queue, "DVC refuses several values without --queue"
    for point in points or [{}]:
        shutil.copy(ROOT / "params.yaml", "params.yaml")
        for path, values in point.items():
            apply_overrides(path, values)
        params = read()
        for budget in BUDGETS:
            Study(params, budget).check()
        check_targets(arguments.targets, params)
        assert not point or params != before, "an example that changes nothing"


def check_targets(targets: list[str], params: dict) -> None:
    stages = read(ROOT / "dvc.yaml")["stages"]
    for target in targets:
        stage, _, key = target.partition("@")
        if "foreach" in stages[stage]:
            assert key in params[stages[stage]["foreach"].strip("${}")]
        else:
            assert not key


def check(command: str) -> None:
    match shlex.split(command):
        case ["make", *targets]:
            check_make(targets)
        case ["python", "-m", "picollm", *words]:
            check_picollm(words)
        case ["dvc", *words]:
            check_dvc(words)
        case _:
            assert command in OTHERS


@pytest.mark.parametrize("command", TYPED)
def test_a_command_can_be_typed(checkout, command):
    check(command)


def test_commands_are_found_in_blocks_and_in_prose():
    assert {"make study", "make ui", "dvc repro", "dvc queue start -j 2", "python -m picollm info", "make lint test"} <= set(TYPED)
    assert sum("+tasks.mine=" in command and "+runs.mine=" in command for command in TYPED) == 1  # two lines, one command


@pytest.mark.parametrize(
    ("command", "error", "mentions"),
    [
        ("make stduy", AssertionError, "stduy"),
        ("make study tset", AssertionError, "tset"),
        ("python -m picollm infos", KeyError, "infos"),
        ("python -m picollm info no_such_run", AssertionError, "no_such_run"),
        ("python -m picollm study train@no_such_run", AssertionError, "no_such_run"),
        ("python -m picollm sample modular_softmax", TyperException, "prompt"),
        ("python -m picollm sample modular_softmax --prompt 5 --temprature 0", TyperException, "temprature"),
        ("python -m picollm sample modular_softmax --prompt 5 --top-p 2", UserError, "top_p"),
        ("dvc rerpo", DvcParserError, "parser error"),
        ("dvc repro --frce", DvcParserError, "parser error"),
        ("dvc repro train@no_such_run", AssertionError, "no_such_run"),
        ("dvc repro trian@modular_linear", KeyError, "trian"),
        ("dvc exp run -S runs.no_such_run.training.lr=0.004", InvalidArgumentError, "set-param"),
        ("dvc exp run -S runs.classic_linear.training.learning_rate=0.004", InvalidArgumentError, "set-param"),
        ("dvc exp run -S runs.classic_linear.training.lr=fast", UserError, "training.lr"),
        ("dvc exp run -S runs.classic_linear.training.lr=0.001,0.004", AssertionError, "--queue"),
        ("dvc exp run -S budget=study", AssertionError, "changes nothing"),
        ("dvc exp run -S '+runs.wide={task: clasic, seeds: 3, model: {kind: lstm}, training: {steps: 400}}'", UserError, "clasic"),
        ("curl example.org", AssertionError, "curl"),
    ],
)
def test_a_mistake_is_noticed(checkout, command, error, mentions):
    """The tests above find what they look for."""
    with pytest.raises(error, match=mentions):
        check(command)


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    return set(subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"))


def outputs() -> list[str]:
    """Every file and folder that a stage of dvc.yaml makes."""
    params = read(ROOT / "params.yaml")
    found = []
    for stage in read(ROOT / "dvc.yaml")["stages"].values():
        body = stage.get("do", stage)
        keys = params[stage["foreach"].strip("${}")] if "foreach" in stage else [""]
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])):
            path = entry if isinstance(entry, str) else next(iter(entry))
            found += [path.replace("${key}", key) for key in keys]
    return found


@pytest.mark.parametrize("document", WITH_LINKS, ids=lambda path: path.name)
def test_links_lead_somewhere(document, tracked):
    results = any(name.startswith("plots/") for name in tracked)  # committed with a whole study only
    for link in LINK.findall(BLOCK.sub("", document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path = (document.parent / link).resolve().relative_to(ROOT).as_posix()
        if path.startswith("plots/"):
            assert any(path == output or path.startswith(f"{output}/") for output in outputs()), link
        if not path.startswith("plots/") or results:
            assert path in tracked or any(name.startswith(f"{path}/") for name in tracked), link


def test_the_readme_has_links():
    assert {"docs/design.md", "params.yaml", "plots/compare/modular_loss.png"} <= set(LINK.findall((ROOT / "README.md").read_text()))
