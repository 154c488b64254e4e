"""What the tutorial, the guides and the teacher's track tell a reader to do, done from the first line to the last, at budget smoke."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests import checkouts
from tests.checkouts import Checkout
from tests.documents.blocks import EXECUTED, Block, blocks
from tests.documents.written import write

PATIENCE = 1800  # seconds for a block: two cores may be busy with something else
SERVERS = {"make ui": 5000, "mlflow server": 5001, "python -m picollm serve": 8000}  # that run until they are stopped, each alone in its block
SHELL = "test ! -f .environment || . ./.environment\n{}\nexport -p > .environment"  # what a block exports, the next one has


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """As after a `git clone`, with the environment that `make` would have to set up first."""

    def smoke(path: Path) -> None:
        params = path / "params.yaml"
        params.write_text(re.sub(r"^budget: \w+", "budget: smoke", params.read_text(), flags=re.MULTILINE))
        (path / ".venv").mkdir()
        for part in Path(sys.prefix).iterdir():  # all of it: a python finds its libraries by the pyvenv.cfg beside its folder
            if part.name != ".ready":
                (path / ".venv" / part.name).symlink_to(part)
        (path / ".venv/.ready").touch()  # after requirements.lock

    path = tmp_path / "picollm"
    path.mkdir()
    laid_out = checkouts.lay_out(path, lambda name: True, smoke)
    (path / ".git/info/exclude").write_text(".last.log\n.environment\n")
    return laid_out


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen]]:
    """Those that a document starts; they end with it."""
    started: list[subprocess.Popen] = []
    yield started
    for server in started:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def port_of(block: Block) -> int | None:
    """Where the server answers that a block starts."""
    return next((port for command, port in SERVERS.items() if block.text.startswith(command)), None)


def start(checkout: Checkout, block: Block, port: int) -> subprocess.Popen:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"something else answers at port {port}")
    with open(checkout.path / ".last.log", "w") as out:
        server = checkout.start("bash", "-c", SHELL.format(block.text), stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    waiting = time.monotonic() + 120
    while not answers(port):
        assert server.poll() is None, (checkout.path / ".last.log").read_text()[-4000:]
        assert time.monotonic() < waiting, f"{block.text} does not answer"
        time.sleep(0.5)
    return server


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return response.status == 200
    except (URLError, OSError):
        return False


def run(checkout: Checkout, block: Block, servers: list[subprocess.Popen]) -> None:
    if block.file:
        write(block, checkout.path)
    elif block.language == "bash" and (port := port_of(block)):
        servers.append(start(checkout, block, port))
    elif block.language == "bash":
        checkout.run("bash", "-euo", "pipefail", "-c", SHELL.format(block.text), timeout=PATIENCE)
    elif block.language == "python":
        checkout.run(sys.executable, "-c", block.text, timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("document", EXECUTED, ids=lambda path: path.stem)
def test_a_reader_gets_to_the_end(checkout, servers, document):
    for block in blocks(document.read_text()):
        run(checkout, block, servers)


def test_every_document_is_executed_that_leads_somewhere():
    assert {"tutorial", "teaching", "corpus", "model", "family", "analysis", "sweep", "server", "share"} == {path.stem for path in EXECUTED}
