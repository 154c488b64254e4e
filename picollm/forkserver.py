"""Stages as forks of a process that has imported their libraries: they begin at once, and not after the 3 to 5 s that PyTorch, MLflow and matplotlib take.

    study ── starts ──► server ── forks ──► keeper ── forks ──► the stage's work
    DVC ── starts ──► the stage ◄── a socket ──┘

`python -m picollm study` keeps a server while DVC runs; ADDRESS in the environment of DVC and its stages is its socket. A stage hands over what a
process is made of, waits, passes signals on, and ends as its fork did. The server imports none of our modules: a fork runs the code in
the stage's own directory, as it is then, and has imported what a process of its own would have, of which the fingerprint is made.

Where no server is named or it is gone, and where there are no pidfds (that is, not on Linux), a stage is a process of its own as ever.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any

ADDRESS = "PICOLLM_FORKSERVER"
LIBRARIES = ("torch", "safetensors.torch", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.stats")


@contextmanager
def running(libraries: Iterable[str] = LIBRARIES) -> Iterator[dict[str, str]]:
    """A server until the block ends, and what the environment of its stages must say. It ends with this process, however that ends."""
    if not hasattr(os, "pidfd_open"):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="picollm-") as folder:  # which nobody else can enter
        address = str(Path(folder) / "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            try:
                listening.bind(address)
            except OSError:  # TMPDIR is longer than an address may be
                yield {}
                return
            listening.listen()
            command = [sys.executable, "-P", __file__, str(listening.fileno()), *libraries]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()], process_group=0)
        with server:
            yield {ADDRESS: address}  # the end of the block closes its standard input


def handed_over() -> int | None:
    """Have the server named in the environment run this very command; its exit status, or None where there is no server."""
    address = os.environ.pop(ADDRESS, None)
    if address is None:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
        request = {"directory": str(Path.cwd()), "environment": dict(os.environ), "arguments": sys.argv[1:]}
        try:
            keeper.connect(address)
            socket.send_fds(keeper, [json.dumps(request).encode()], [0, 1, 2])
        except OSError:  # gone, or too large an environment for one message
            return None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: _pass_on(keeper, number))
        answer = keeper.recv(16)
    if not answer:
        print("error: the process that ran this stage was killed; run the same command again", file=sys.stderr)
    status = int(answer or 1)
    if status < 0:  # a signal ended it
        with suppress(OSError):  # SIGKILL has no other
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _pass_on(keeper: socket.socket, number: int) -> None:
    with suppress(OSError):  # the work has just ended
        keeper.send(b"%d" % number)


def serve(listening: socket.socket, libraries: Iterable[str]) -> None:
    """Returns when standard input ends; and in every fork that is to do the work of a stage, its arguments, directory and streams in place."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a keeper ended
    while True:
        ready, _, _ = select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            sys.exit()
        keeper, _ = listening.accept()
        for name in libraries:  # at the first stage, so that a study with nothing to do pays nothing
            importlib.import_module(name)
        gc.freeze()  # what is collected is written to, and so copied
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return keep(keeper)
        keeper.close()


def keep(stage: socket.socket) -> None:
    """Fork the work of a stage, and stand between both until one of them ends; returns in the fork."""
    message, streams, _, _ = socket.recv_fds(stage, 1 << 20, 3)
    if not message:
        os._exit(1)
    request = json.loads(message)
    work = os.fork()
    if work == 0:
        stage.close()
        return become(request, streams)
    with suppress(ProcessLookupError):  # it has ended already
        os.setpgid(work, work)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(work)
    while True:
        ready, _, _ = select([stage.fileno(), ended], [], [])
        if ended in ready:
            with suppress(OSError):
                stage.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(work, 0)[1]))
            os._exit(0)
        number = stage.recv(16)
        with suppress(ProcessLookupError):
            os.killpg(work, int(number or signal.SIGKILL))  # when nobody waits any more, the stage has been killed
        if not number:
            os._exit(1)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """What a process of its own would be."""
    os.setpgid(0, 0)  # here and in the keeper, whichever is the first: signals go to the work and to its own workers
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    buffering = 1 if os.isatty(1) or os.environ.get("PYTHONUNBUFFERED") else -1
    sys.stdout, sys.stderr = open(1, "w", buffering), open(2, "w", 1)  # noqa: SIM115
    sys.argv[1:] = request["arguments"]
    sys.path[:0] = [request["directory"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def work() -> int:
    """As `python -m stages`; the exit status."""
    try:
        runpy.run_module("stages", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    status = work()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)  # to take down everything imported, a second, would copy it first
