"""For all tests: two of them at once on two cores (`make test`), so one thread each; and a browser for those that look at pages."""

import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import torch

FLAGS = [
    "--no-sandbox",  # a container's root has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60  # seconds: two cores may be busy with something else


def pytest_configure():
    # The same examples every time, however busy the machine is.
    hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("steady")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and what they start would too


def pytest_xdist_make_scheduler(config, log):
    """The tests of a file go to one worker, and all of the pipeline to one: what they share is made once. (Groups by mark, xdist's own way, get lost
    between xdist 3.8 and pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling  # here: without xdist nobody asks

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/pipeline" if file.startswith("tests/pipeline/") else file

    return ByFile(config, log)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with an empty profile, as a visitor has it who comes for the first time."""
    from playwright.sync_api import expect, sync_playwright  # here: most tests do without

    program = shutil.which("chromium")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium on the PATH: the pages cannot be looked at")
    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, headless=True, args=FLAGS, viewport={"width": 1600, "height": 1100}
        )
        context.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        yield context
        context.close()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A tab that notes what it asks for and what goes wrong in it."""
    page = browser.new_page()
    page.asked, page.wrong, page.said = [], [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
    yield page
    page.close()
