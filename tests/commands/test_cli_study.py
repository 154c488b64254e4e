"""`study` and `status` on a small graph of real DVC stages: what ran and what will is what DVC says."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from picollm import tracking
from picollm.commands import _durations
from picollm.commands._durations import covered
from picollm.commands._freshness import LOCKS, states
from picollm.commands._graph import stages
from picollm.commands.status import spoken
from picollm.core.config import read
from picollm.core.files import write_json

ROOT = Path(__file__).parents[2]
PIPELINE = """\
stages:
  check: {cmd: "mkdir -p data/plans; echo {} > data/plans/same", deps: [params.yaml], outs: [data/plans]}
  make:
    foreach: ${tasks}
    do:
      cmd: sh ${item.program.name}.sh ${key}
      params: [budget, "tasks.${key}"]
      deps: [code, "${item.program.name}.sh", data/plans]
      outs: ["out/${key}"]
      metrics: ["metrics/${key}.json": {cache: false}]
  join:
    cmd: cat out/*/text > metrics/joined.txt
    deps: [out]
    metrics: [metrics/joined.txt: {cache: false}]
"""
PARAMS = "budget: study\ntasks:\n  a: {program: {name: copy}, size: 1}\n  b: {program: {name: copy}, size: 2.5}\n"
MORE = "  c: {program: {name: copy}}\n"
COPY = "mkdir -p out/$1 metrics; cp code/text out/$1/text; echo $1 > out/$1/name; echo {} > metrics/$1.json\n"
SLOW = "touch began; sleep 60\n"


class Project:
    """A folder with the graph, and how to run commands there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        quiet = {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": str(ROOT)}
        author = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environment = {**{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}, **quiet, **author}

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(words, cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words).stdout

    def picollm(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "picollm", *words, code=code)

    def states(self) -> dict[str, str]:
        with contextlib.chdir(self.path):
            params = read()
            return dict(states(stages(params), params))

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Project:
    """After one `study`, whose answer it keeps."""
    project = Project(tmp_path_factory.mktemp("graph") / "project")
    for name, text in {"dvc.yaml": PIPELINE, "params.yaml": PARAMS, "copy.sh": COPY, "slow.sh": SLOW, "code/text": "hello\n", "data/.keep": ""}.items():
        project.write(name, text)
    project.write(".dvcignore", "__pycache__\n*.pyc\n")
    project.write(".gitignore", "/out\n/data\n/began\n")
    project.write("code/__pycache__/x.pyc", "not a dependency")
    project.run("git", "init", "-q")
    project.dvc("init", "-q")
    assert set(project.states().values()) == {"new"}
    project.answer = project.picollm("study").stdout
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "a graph")
    return project


@pytest.fixture
def project(built, tmp_path) -> Project:
    shutil.copytree(built.path, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_a_study_says_what_ran_and_what_came_out(built):
    lines = built.answer.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["check", "make@a", "make@b", "join"]
    assert all(line.endswith(" s") for line in lines[:4])
    assert lines[4].startswith("4 stages ran in ")
    assert lines[4].endswith(", 0 came from the cache, 0 had not changed")
    assert "nothing has been compared yet: make study" in lines
    assert (built.path / "metrics/joined.txt").read_text() == "hello\nhello\n"
    assert max(map(len, lines)) <= 80


def test_when_nothing_has_changed_all_is_fresh_as_dvc_says(built, command):
    assert built.dvc("status", "--json").strip() == "{}"
    assert set(built.states().values()) == {"fresh"}
    with contextlib.chdir(built.path):
        shown = command("status")
        data = json.loads(command("status", "--json"))
    assert "nothing to rebuild" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert all(stage["state"] == "fresh" and stage["seconds"] > 0 for stage in data["stages"].values())
    assert data["rebuild"]["certain"] == {"seconds": 0, "stages": 0, "untimed": 0}


def test_status_says_what_a_rebuild_costs(project, command):
    project.write("code/text", "bye\n")
    with contextlib.chdir(project.path):
        _durations.note({"make@a": 60, "make@b": 120, "join": 240})
        assert "a rebuild takes about 3 min, up to 7 min with what follows: python -m picollm study" in command("status")
        assert json.loads(command("status", "--json"))["rebuild"]["possible"] == {"seconds": 240, "stages": 1, "untimed": 0}
        project.write("params.yaml", PARAMS + MORE)
        assert "up to 7 min with what follows, and 1 stage without a time" in command("status")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"code/text": "bye\n"}, {"check": "fresh", "make@a": "stale", "make@b": "stale", "join": "behind"}),
        ({"params.yaml": PARAMS.replace("size: 1", "size: 3")}, {"check": "stale", "make@a": "stale", "make@b": "fresh", "join": "behind"}),
        (
            {"params.yaml": PARAMS + "  c: {program: {name: copy}}\n"},
            {"check": "stale", "make@a": "fresh", "make@b": "fresh", "make@c": "new", "join": "behind"},
        ),
        ({"out/b/text": "spoilt"}, {"check": "fresh", "make@a": "fresh", "make@b": "stale", "join": "stale"}),
        ({"metrics/a.json": "{ }"}, {"check": "fresh", "make@a": "stale", "make@b": "fresh", "join": "behind"}),
        ({"code/__pycache__/y.pyc": ""}, {"check": "fresh", "make@a": "fresh", "make@b": "fresh", "join": "fresh"}),
        ({"code/more": ""}, {"check": "fresh", "make@a": "stale", "make@b": "stale", "join": "behind"}),
        ({"dvc.yaml": PIPELINE.replace("[budget, ", "[")}, {"check": "fresh", "make@a": "fresh", "make@b": "fresh", "join": "fresh"}),
        ({"dvc.yaml": PIPELINE.replace("[code, ", "[")}, {"check": "fresh", "make@a": "fresh", "make@b": "fresh", "join": "fresh"}),
    ],
    ids=["a file", "a parameter", "a new entry", "a result", "a metric", "what DVC ignores", "a file more", "a parameter less", "a dependency less"],
)
def test_what_has_changed_is_what_dvc_says_has_changed(project, change, expected):
    for name, text in change.items():
        (project.path / name).unlink(missing_ok=True)  # the cache may hold the same file
        project.write(name, text)
    assert project.states() == expected
    assert set(json.loads(project.dvc("status", "--json"))) == {name for name, state in expected.items() if state not in ("fresh", "behind")}


def test_a_study_tells_what_it_took_from_the_cache_and_what_was_fresh(project):
    project.write("code/text", "bye\n")
    first = json.loads(project.picollm("study", "--json").stdout)
    assert set(first["ran"]) == {"make@a", "make@b", "join"}
    assert (first["unchanged"], first["cached"], first["code"], first["failed"]) == (["check"], [], 0, None)
    project.write("code/text", "hello\n")
    again = json.loads(project.picollm("study", "make@a", "--json").stdout)
    assert (again["ran"], again["cached"], again["unchanged"]) == ({}, ["make@a"], ["check"])


@pytest.mark.slow
def test_a_budget_is_an_experiment_of_its_own(project):
    said = json.loads(project.picollm("study", "--budget", "smoke", "--json").stdout)
    assert {"make@a", "make@b"} <= set(said["ran"])
    assert "budget: smoke" in (project.path / "params.yaml").read_text()
    assert project.dvc("exp", "show", "--json")


def test_a_stage_that_fails_is_named_and_the_code_is_dvcs(project):
    project.write("copy.sh", "echo it broke >&2; exit 3\n")
    expected = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=project.path, env=project.environment, capture_output=True, check=False).returncode
    assert expected != 0
    ended = project.picollm("study", code=expected)
    assert "it broke" in ended.stderr
    assert "make@a" in ended.stdout.splitlines()[0]
    assert "failed after" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "make@a failed, its message stands above; mend that and start the same command again: it goes on there"


@pytest.mark.parametrize(("how", "in_background"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)])
def test_an_interrupted_study_stops_its_stage_and_says_that_it_goes_on(project, how, in_background):
    """What a shell without job control starts in the background ignores SIGINT, which must not reach DVC and the stage."""
    project.write("params.yaml", PARAMS.replace("name: copy}, size: 1", "name: slow}, size: 1"))
    command = [sys.executable, "-m", "picollm", "study"]
    if in_background:
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(command, cwd=project.path, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not (project.path / "began").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert project.states()["make@a"] == "running"
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted; the same command goes on where this one stopped"
    assert "stopped after" in out
    assert not [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    assert project.states()["make@a"] == "stale"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", "mkae@a"], "error: mkae@a: no such stage, did you mean 'make@a'? python -m picollm status lists them\n"),
        (["study", "b"], "error: b: no such stage, did you mean 'make@b'? python -m picollm status lists them\n"),
        (["study", "xyz"], "error: xyz: no such stage; python -m picollm status lists them\n"),
        (["study", "--budget", "smok"], "error: budget: unknown 'smok' (did you mean 'smoke'? known: full, paper, smoke, study)\n"),
    ],
)
def test_a_misspelt_target_or_budget_starts_nothing(built, monkeypatch, command, words, message):
    monkeypatch.chdir(built.path)
    assert command(*words, code=1) == message


def test_a_training_that_was_stopped_in_the_middle_is_begun(tmp_path, monkeypatch, command):
    pipeline = "stages:\n  train:\n    foreach: ${runs}\n    do: {cmd: train, deps: [params.yaml], outs: ['${key}']}\n"
    pipeline += "  sweep:\n    foreach: ${sweeps}\n    do: {cmd: sweep, deps: [params.yaml], outs: ['${key}']}\n"
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(pipeline)
    Path("params.yaml").write_text("runs: {one: {}, one_more: {}}\nsweeps: {rates: {}, rest: {}}\n")
    for folder in ("train-one_more-0123456789abcdef", "sweep-rates lr=0.1-0123456789abcdef"):
        Path(".resume", folder).mkdir(parents=True)
    Path(".resume/sweep-rest lr=0.1-0123456789abcdef.json").touch()
    found = {name: stage["state"] for name, stage in json.loads(command("status", "--json"))["stages"].items()}
    assert found == {"train@one": "new", "train@one_more": "begun", "sweep@rates": "begun", "sweep@rest": "new"}
    holders = {"one": os.getpid(), "rest": 2**22 + 1}
    write_json(LOCKS, {"read": {}, "write": {str(tmp_path / out): {"pid": pid, "cmd": "dvc"} for out, pid in holders.items()}})
    found = {name: stage["state"] for name, stage in json.loads(command("status", "--json"))["stages"].items()}
    assert (found["train@one"], found["sweep@rest"]) == ("running", "new"), "a process that is gone holds no lock"


def test_times_come_from_mlflow_and_from_the_clock_of_a_study(tmp_path, monkeypatch):
    """MLflow's own tables, made by MLflow: an update of it that changes them is noticed here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert _durations.durations() == {}
    monkeypatch.setenv("DVC_STAGE", "train@one")
    for kind, name in (("train", "one"), ("train-seed", "one seed 0")):
        with tracking.run(name, experiment="task", stage=kind, fingerprint="f"):
            time.sleep(0.3)
    logged = _durations.durations()
    assert set(logged) == {"train@one"}
    assert 0.3 <= logged["train@one"] < 5
    _durations.note({"train@one": 12.0, "compare": 3.0})
    assert _durations.durations() == {"train@one": 12.0, "compare": 3.0}
    assert _durations.note({}) is None


def test_runs_side_by_side_are_counted_once():
    assert covered([(0, 10), (5, 12), (20, 21), (20.5, 20.7)]) == 13
    assert covered([]) == 0


def test_times_are_spoken_in_few_letters():
    assert [spoken(seconds) for seconds in (0.4, 99, 100, 3000, 36000)] == ["0 s", "99 s", "2 min", "50 min", "10.0 h"]
