"""A stage that a server forks is to the caller what a process of its own is: its output, its status, its signals, its end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from picollm import forkserver

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there are servers on Linux only")

MAIN = """\
import os, subprocess, sys, time
from picollm import forkserver

if __name__ == "__main__":
    if (status := forkserver.handed_over()) is not None:
        sys.exit(status)
    from stages import work
    work.main(*sys.argv[1:])
"""
WORK = """\
import os, signal, subprocess, sys, time
from pathlib import Path

def say():
    print(os.getcwd(), os.environ["WORD"], "tabnanny" in sys.modules, __file__, forkserver_named())
    print("and this", file=sys.stderr)

def forkserver_named():
    return "PICOLLM_FORKSERVER" in os.environ

def sleep():
    child = subprocess.Popen(["sleep", "60"])
    Path("at_work").write_text(f"{os.getpid()} {child.pid}")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        Path("stopped").touch()
        sys.exit(130)

def main(what):
    match what:
        case "say": say()
        case "sleep": sleep()
        case "fail": sys.exit(3)
        case "refuse": sys.exit("error: no")
        case "break": raise RuntimeError("broken")
        case "die": os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def stage(tmp_path):
    """`stage(*words, **environment)`: a started `python -m stages` in a folder with stages of its own."""
    (tmp_path / "stages").mkdir()
    for name, text in (("__init__", ""), ("__main__", MAIN), ("work", WORK)):
        (tmp_path / f"stages/{name}.py").write_text(text)

    def start(*words: str, **environment: str) -> subprocess.Popen:
        whole = {**os.environ, "PYTHONPATH": str(ROOT), "WORD": "hello", **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "stages", *words], cwd=tmp_path, env=whole, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )

    return start


@pytest.fixture(scope="module")
def server():
    with forkserver.running(["tabnanny"]) as environment:  # a library that nothing else imports
        yield environment


def said(process: subprocess.Popen) -> tuple[str, str, int]:
    out, err = process.communicate(timeout=60)
    return out, err, process.returncode


def begun(folder: Path) -> list[psutil.Process]:
    """The work that has begun there, and its child."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            work, child = map(int, (folder / "at_work").read_text().split())
            return [psutil.Process(work), psutil.Process(child)]
        time.sleep(0.02)
    raise AssertionError("no work began")


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)  # one that nobody has waited for is dead too


def test_it_has_the_stages_directory_environment_streams_and_code_and_the_servers_libraries(stage, server, tmp_path):
    for word in ("hello", "again"):
        assert said(stage("say", WORD=word, **server)) == (f"{tmp_path} {word} True {tmp_path}/stages/work.py False\n", "and this\n", 0)
    assert said(stage("say")) == (f"{tmp_path} hello False {tmp_path}/stages/work.py False\n", "and this\n", 0)


def test_it_runs_the_code_as_it_is_then(stage, server, tmp_path):
    assert said(stage("fail", **server))[2] == 3
    (tmp_path / "stages/work.py").write_text(WORK.replace("sys.exit(3)", "sys.exit(4)  # longer"))
    assert said(stage("fail", **server))[2] == 4


@pytest.mark.parametrize("what", ["refuse", "break", "die"])
def test_it_ends_as_a_process_of_its_own_does(stage, server, what):
    _, own, code = said(stage(what))
    _, forked, status = said(stage(what, **server))
    assert status == code != 0
    assert forked.splitlines()[-1:] == own.splitlines()[-1:]


def test_an_interruption_reaches_the_work(stage, server, tmp_path):
    process = stage("sleep", **server)
    family = begun(tmp_path)
    process.send_signal(signal.SIGINT)
    assert said(process)[2] == 130
    assert (tmp_path / "stopped").exists()
    assert gone(family)


def test_a_killed_stage_leaves_no_work_behind(stage, server, tmp_path):
    process = stage("sleep", **server)
    family = begun(tmp_path)
    process.kill()
    assert said(process)[2] == -signal.SIGKILL
    assert gone(family)
    assert not (tmp_path / "stopped").exists()


def test_stages_run_side_by_side(stage, server, tmp_path):
    sleeper = stage("sleep", **server)
    family = begun(tmp_path)
    assert said(stage("say", **server))[2] == 0
    sleeper.kill()
    sleeper.communicate()
    assert gone(family)


def test_a_server_that_is_gone_is_not_missed(stage, tmp_path):
    with forkserver.running(["tabnanny"]) as environment:
        pass
    assert said(stage("say", **environment)) == (f"{tmp_path} hello False {tmp_path}/stages/work.py False\n", "and this\n", 0)


def test_a_server_ends_with_who_started_it():
    code = "import sys, time; from picollm import forkserver\nwith forkserver.running([]):\n    print('there', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "there\n"
    servers = psutil.Process(process.pid).children()
    assert len(servers) == 1
    process.kill()
    process.communicate()
    assert gone(servers)


def test_the_libraries_start_no_threads():
    """A fork has one thread: locks that others held would stay locked in it."""
    code = f"import importlib, threading\nfor name in {forkserver.LIBRARIES}: importlib.import_module(name)\nprint(threading.active_count())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
