"""Every verb can be found, read at 80 columns, and tried out; the shell completes verbs and runs."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from picollm.cli import app

ROOT = Path(__file__).parents[2]
VERBS = sorted(typer.main.get_command(app).commands)


@pytest.fixture
def plain(monkeypatch):
    """No terminal, of the width that pipes are given."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def test_the_help_lists_every_verb_in_80_columns_without_colours(plain, command):
    shown = command("--help")
    assert {"study", "status", "serve", "sample", "info"} <= set(VERBS)
    for verb in VERBS:
        assert f"│ {verb} " in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "completion" not in shown, "python -m picollm cannot be completed"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_itself_with_an_example_that_can_be_typed(plain, command, verb):
    shown = command(verb, "--help")
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    lines = [line.strip() for line in shown.splitlines()]
    start = next(place for place, line in enumerate(lines) if line.startswith(f"Example: python -m picollm {verb}"))
    example = " ".join(lines[start : lines.index("", start)]).removeprefix("Example: python -m picollm ")
    name, *arguments = shlex.split(example)
    typer.main.get_command(app).commands[name].make_context(name, arguments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serv"], "error: No such command 'serv'. Did you mean 'serve'?; see python -m picollm --help"),
        (["statsu"], "error: No such command 'statsu'. Did you mean 'status'?; see python -m picollm --help"),
        (["status", "--jsn"], "error: No such option: --jsn (Possible options: --json); see python -m picollm --help"),
        (["sample", "classic_linaer", "--prompt", "3"], "error: classic_linaer: no such run (did you mean 'classic_linear'? known: "),
        (["info", "classic_linaer"], "error: classic_linaer: no such run (did you mean 'classic_linear'? known: "),
        (["serve", "--port", "70000"], "error: Invalid value for '--port': Input should be less than or equal to 65535; see python -m picollm --help"),
    ],
)
def test_a_misspelt_word_is_answered_in_one_line_with_a_suggestion(study, command, words, message):
    said = command(*words, code=1)
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_info_is_readable_at_80_columns(study, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    values = '{"excess": 6.9971e-05, "test_accuracy": 0.999, "a_name_that_is_too_long_for_what_is_left": 1.0}'
    metrics = '{"classic_linear_epochs": ' + values + ', "claims": {"holds": 1}}'
    Path("metrics").mkdir()
    Path("metrics/compare.json").write_text(metrics)
    shown = command("info")
    assert shown.startswith("classic_linear_epochs  excess 6.997e-05  test_accuracy 0.999\n")
    assert "claim" not in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "expected"), [("picollm st", {"status", "study"}), ("picollm sample cl", {"classic_linear"}), ("picollm info wr", {"writer"})]
)
def test_the_shell_completes_verbs_and_runs_of_the_installed_program(study, tmp_path, typed, expected):
    """What `pip install -e .` puts on the PATH is such a script."""
    program = tmp_path / "picollm"
    program.write_text("from picollm.__main__ import main\nmain()\n")
    asked = {"_PICOLLM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(program)], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    assert set(ended.stdout.split()) == expected
