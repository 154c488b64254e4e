"""Processes side by side: results in order, errors as they are, and nobody left behind by a parent that was killed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from picollm.core.errors import UserError
from picollm.core.parallel import share, workers


@pytest.mark.parametrize(
    ("threads", "jobs", "device", "expected"),
    [(2, 1, "cpu", (1, 2)), (2, 2, "cpu", (2, 1)), (2, 5, "cpu", (2, 1)), (8, 3, "cpu", (3, 2)), (2, 0, "cpu", (1, 2)), (2, 5, "cuda", (1, 2))],
)
def test_threads_are_shared_among_jobs(threads, jobs, device, expected):
    assert share(threads, jobs, device) == expected


def process_of(_item):
    time.sleep(0.05)  # so that one process cannot take both
    return os.getpid()


def later_is_faster(item):
    time.sleep(0.02 * (5 - item))
    return item


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_items(count):
    with workers(count) as each:
        assert each(later_is_faster, range(5)) == list(range(5))


def test_two_workers_are_two_other_processes_and_one_is_this():
    with workers(2) as each:
        found = set(each(process_of, range(8)))
    assert len(found) == 2
    assert os.getpid() not in found
    with workers(1) as each:
        assert each(process_of, range(2)) == [os.getpid()] * 2


def fail_at_first(folder, item):
    (folder / str(item)).touch()
    if item == 0:
        raise UserError("training.lr: too high")
    time.sleep(0.3)


def test_an_error_comes_through_and_what_had_not_begun_never_begins(tmp_path):
    with pytest.raises(UserError, match="too high"), workers(2) as each:
        each(partial(fail_at_first, tmp_path), range(50))
    assert len(list(tmp_path.iterdir())) < 10


def kill_oneself(_item):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match="threads: a training process was killed"), workers(2) as each:
        each(kill_oneself, range(2))


PARENT = r"""
import os, time
from picollm.core.parallel import workers
def wait(item):
    os.write(1, b"ready\n")  # one write: those of `print` mix with the other worker's where Python does not buffer
    time.sleep(60)
with workers(2) as each:
    each(wait, range(8))
"""


def test_workers_end_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    children = begun(parent)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["the parent alone", "all of them"])
def test_an_interruption_ends_those_at_work_and_begins_nothing_that_waits(send):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    children = begun(parent)
    send(parent.pid, signal.SIGINT)
    said, error = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in error
    assert said.count("ready") <= 2
    assert not psutil.wait_procs(children, timeout=10)[1]


def begun(parent):
    """The workers of PARENT, when both are at work."""
    assert [parent.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 2
    return children
