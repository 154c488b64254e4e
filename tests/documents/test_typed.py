"""What the documents tell a reader to type can be typed: verbs, options, runs, stages and parameters are there. Nothing is run."""

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import typer
from dvc.cli import DvcParserError, parse_args
from dvc.commands.repro import CmdRepro
from dvc.exceptions import InvalidArgumentError
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from typer.exceptions import TyperException

from picollm import analysis, models, tasks
from picollm.cli import app
from picollm.comparing import conditions
from picollm.core import registry
from picollm.core.config import BUDGETS, parse, read
from picollm.core.errors import UserError
from picollm.generation.sampling import Sampling
from picollm.report import claims
from picollm.study import Study
from picollm.tasks.numeric.spec import FAMILIES
from stages.__main__ import STAGES
from tests.documents.blocks import DOCUMENTS, ROOT, blocks, commands, programs
from tests.documents.written import CLAIMS, PARAMS, write

TARGET = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)
OTHERS = {  # neither ours nor DVC's, so there is nothing to check them against
    "source .venv/bin/activate",
    "pip install torch --index-url",  # the address changes with PyTorch
    "pip install --no-deps -e .",
    # tests/tracking asks a served champion so
    """curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"inputs": ["Once upon a time"], "params": {"length": 40, "seed": 1}}'""",
}
SHELL = ("echo", "export", "git", "grep")  # whose arguments the tests that run them see
EXAMPLES = {  # for words in capitals
    "VERB": "info",
    "STAGE": "train",
    "FOLDER": "data",
    "sweep@NAME": "sweep@parity_attention",
    "NAME": "classic_linear",
    "RUN": "classic_linear",
    "ID": 32 * "0",
}
REVISIONS = {"HEAD", "main", "v1", "v2", "warm-newt"}  # as examples: there need not be any
SHARED = {"shared"}  # a folder that a document shares a model in
EXTENDED: tuple[ModuleType, ...] = (analysis, models, tasks)  # packages that a document adds a file to
TYPED = sorted({(path.relative_to(ROOT).as_posix(), command) for path in DOCUMENTS for command in commands(path.read_text())})
NAMED = {name for _, command in TYPED for name in re.findall(r"dvc exp run .*-n (\S+)", command)}  # experiments; of several values NAME-1, NAME-2, ...
ADDED = {name for _, command in TYPED for name in re.findall(r"\+runs\.(\w+)=", command)}  # runs, in such an experiment


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder to change params.yaml in, with the reader's own text."""
    monkeypatch.chdir(tmp_path)
    for name in (PARAMS, CLAIMS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("book.txt", "tinyshakespeare.txt", "notes/first.txt"):
        (tmp_path / "data/corpora" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/corpora" / name).write_text("A book.\n" * 1000)
    return tmp_path


@contextmanager
def laid_out(document: Path, folder: Path) -> Iterator[None]:
    """With the files that the document has its reader write, its modules among ours."""
    for block in blocks(document.read_text()):
        if block.file and block.language != "diff":
            write(block, folder)
    packages = [(package, list(package.__path__)) for package in EXTENDED]
    for package, before in packages:
        package.__path__ = [*before, str(folder / package.__name__.replace(".", "/"))]
    yield
    for package, before in packages:
        package.__path__ = before


def check_make(targets: list[str]) -> None:
    assert set(targets) <= set(TARGET.findall((ROOT / "Makefile").read_text()))


def check_picollm(name: str, arguments: list[str]) -> None:
    if arguments == ["--help"]:
        assert name in typer.main.get_command(app).commands
        return
    context = typer.main.get_command(app).commands[name].make_context(name, arguments)
    run = context.params.get("run")
    assert run is None or run in read()["runs"] or "/" in run or run in SHARED
    if name == "compare":
        check_compared(context.params["what"] or [])
        for condition in map(conditions.parse, context.params["fail_if"] or []):
            check_compared([condition.left, condition.right])
    if name == "analyze":
        families = {*FAMILIES, *(path.stem for path in Path("picollm/tasks/numeric").glob("*.py"))}
        assert context.params["seq_type"] in {None, *families}
        assert set(context.params["analysis"] or ()) <= set(registry.names("analysis"))
    if name == "study":
        check_targets(context.params["targets"] or [], read())
    if name == "sample":
        parse(Sampling, {key: context.params[key] for key in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")}, name)


def check_mlflow(verb: str, arguments: list[str]) -> None:
    from mlflow.cli import cli  # here: it takes seconds

    cli.commands[{"ui": "server"}.get(verb, verb)].make_context(verb, arguments)  # of which it is another name


def check_compared(names: list[str]) -> None:
    """Runs, REVISION:RUN, revisions, MLflow runs, checkpoints."""
    runs = set(read()["runs"]) | ADDED
    revisions = REVISIONS | NAMED | {f"{name}-{number}" for name in NAMED for number in range(1, 4)}
    for name in names:
        place, _, run = name.rpartition(":")
        assert name in runs | revisions or (place in revisions and run in runs) or re.fullmatch(r"[0-9a-f]{32}|data/checkpoints/\w+/seed\d", name), name


def check_dvc(words: list[str]) -> None:
    """DVC's own parser takes the words; what they set is applied by DVC's own code, and our check takes the result."""
    arguments = parse_args(words)
    if not issubclass(arguments.func, CmdRepro):
        return
    overrides = to_path_overrides(getattr(arguments, "set_param", []))
    assert set(overrides) <= {PARAMS}
    text, before = Path(PARAMS).read_text(), read()
    points = get_hydra_sweeps(overrides) if overrides else []
    assert len(points) <= 1 or arguments.queue, "DVC refuses several values without --queue"
    for point in points or [{}]:
        Path(PARAMS).write_text(text)
        for path, values in point.items():
            apply_overrides(path, values)
        params = sound(Path(PARAMS).read_text())
        check_targets(arguments.targets, params)
        assert not point or params != before, "an example that changes nothing"


@cache  # most commands change nothing
def sound(text: str) -> dict:
    """The parameters that `text`, of the file that is there, says, once they are seen to be right at every budget."""
    params = read()
    for budget in BUDGETS:
        Study(params, budget).check()
    return params


def check_targets(targets: list[str], params: dict) -> None:
    stages = read(ROOT / "dvc.yaml")["stages"]
    for target in targets:
        stage, _, key = target.partition("@")
        if "foreach" in stages[stage]:
            assert key in params[stages[stage]["foreach"].strip("${}")]
        else:
            assert not key


def filled(command: str) -> str:
    """With an example for every word in capitals that stands for one."""
    for name, example in EXAMPLES.items():
        command = re.sub(rf"(?<![\w/@]){name}(?!\w)", example, command)
    return command


def check(command: str) -> None:
    match shlex.split(command):
        case ["make", *targets]:
            check_make(targets)
        case ["python", "-m", "picollm", name, *words]:
            check_picollm(name, words)
        case ["python", "-m", "stages", stage, *names]:
            assert STAGES[stage] == len(names)
        case ["python", "-m", "benchmarks", *words]:
            assert set(words) - {"--quick"} <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
        case ["python", "-m", "pytest", *words]:
            assert all((ROOT / word).exists() or Path(word).exists() for word in words if word.startswith("tests/"))
        case ["python", "-m", module] if module != "picollm":
            assert find_spec(module)
        case ["python", "-"] | ["python", "-m", "picollm"]:
            pass  # the program of the first is looked at below
        case ["dvc", *words]:
            check_dvc(words)
        case ["mlflow", verb, *words]:
            check_mlflow(verb, words)
        case [program, *_] if program in SHELL:
            pass
        case _:
            assert command in OTHERS


@pytest.mark.parametrize(("document", "command"), TYPED)
def test_a_command_can_be_typed(checkout, document, command):
    with laid_out(ROOT / document, checkout):
        check(filled(command))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_python_can_be_read(document):
    for program in programs(document.read_text()):
        ast.parse(program)


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if any(block.file for block in blocks(path.read_text()))], ids=lambda path: path.stem)
def test_what_is_written_into_params_and_into_the_ledger_fits_together(checkout, document):
    with laid_out(document, checkout):
        params = read()
        for budget in BUDGETS:
            Study(params, budget).check()
            claims.check(claims.load(checkout / CLAIMS), {**Study(params, budget).params, "budget": budget})


def test_commands_are_found_in_blocks_and_in_prose():
    typed = [command for document, command in TYPED if document in ("README.md", "CONTRIBUTING.md")]
    assert {"make study", "make ui", "dvc repro", "dvc queue start -j 2", "python -m picollm info", "make lint test"} <= set(typed)
    assert sum("+tasks.mine=" in command and "+runs.mine=" in command for command in typed) == 1  # two lines, one command


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
