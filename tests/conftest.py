"""For all tests: two of them at once on two cores (`make test`), so one thread each; and a browser for those that look at pages."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

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
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """The tests of a file go to one worker, and all that use the built study, which take longest, to one and first: what they share is made once."""

    def is_pipeline(item) -> bool:
        return "built" in getattr(item, "fixturenames", ())

    for item in items:
        item.add_marker(pytest.mark.xdist_group("pipeline" if is_pipeline(item) else item.nodeid.partition("::")[0]))
    items.sort(key=is_pipeline, reverse=True)


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
