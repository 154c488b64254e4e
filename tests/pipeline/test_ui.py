"""What a person sees in a browser: the runs of the small study in MLflow's UI, and the report, both in a real Chromium."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect

from picollm.core.files import read_record

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds: two cores may be busy with something else


@contextmanager
def serving(checkout, command: str) -> Iterator[str]:
    """The address at which `command`, started in the checkout by a shell, answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = checkout.path / ".last.log"  # the one file that the checkout's git does not look at
    with open(log, "w") as out:
        server = checkout.start("sh", "-c", f"{command} --host 127.0.0.1 --port {port}", stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        waiting = time.monotonic() + PATIENCE
        while not answers(f"{address}/health"):
            assert server.poll() is None, f"{command} ended:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < waiting, f"{command} does not answer:\n{log.read_text()[-4000:]}"
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # its workers too
        server.wait(PATIENCE)


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as response:
            return response.status == 200
    except (URLError, OSError):
        return False


def names(client: MlflowClient) -> dict[str, set[str]]:
    """{experiment: the names of its runs}, as the store or a server tells it."""
    experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
    found: dict[str, set[str]] = {name: set() for name in experiments.values()}
    for run in client.search_runs(list(experiments)):
        found[experiments[run.info.experiment_id]].add(run.info.run_name)
    return found


def stored(checkout) -> dict[str, set[str]]:
    return names(MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}"))


@pytest.fixture(scope="module")
def ui(built) -> Iterator[str]:
    """The address of what `make ui` starts, with a port of its own."""
    dry = subprocess.run(["make", "--dry-run", "--no-print-directory", "ui"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = dry.stdout.strip().splitlines()[-1]
    assert " mlflow ui" in command
    with serving(built, command) as address:
        yield address


def link(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("link", name=name, exact=True)


def open_experiment(page: Page, ui: str, name: str) -> None:
    """From the start page to the runs of an experiment, by the clicks of a first visitor: MLflow begins in its view of LLM applications."""
    page.goto(ui)
    page.get_by_text("Model training", exact=True).click()
    link(page, "Experiments").first.click()
    link(page, name).click()
    expect(page.get_by_text("matching runs")).to_be_visible()


def open_run(page: Page, ui: str, run: str, child: str | None = None) -> None:
    open_experiment(page, ui, "numbers")
    link(page, run).click()
    if child:
        link(page, child).click()
    expect(page.get_by_role("heading", name=child or run, exact=True)).to_be_visible()


def drawn(page: Page, metric: str) -> int:
    """The points of a metric's chart, once it is there."""
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(metric, exact=True))
    line = card.locator(".js-plotly-plot path.js-line").first
    line.scroll_into_view_if_needed()
    expect(line).to_be_visible()
    assert line.evaluate("path => path.getTotalLength()") > 100, "pixels"
    return len(line.get_attribute("d").split("L"))


def test_every_experiment_and_run_is_listed(built, ui, page):
    page.goto(ui)
    link(page, "Experiments").first.click()
    for name in ("numbers", "story"):
        expect(link(page, name)).to_be_visible()

    open_experiment(page, ui, "numbers")
    for name in ("softmax", "linear", "rates lr=0.001 steps=5", "rates lr=0.004 steps=5"):
        expect(link(page, name)).to_be_visible()
    expect(page.get_by_text("matching runs")).to_have_text(f"{len(stored(built)['numbers'])} matching runs")

    expect(link(page, "softmax seed 0")).to_have_count(0)  # children are folded away
    page.get_by_role("row").filter(has=link(page, "softmax")).get_by_role("button").first.click()
    for name in ("softmax seed 0", "softmax seed 1", "softmax evaluate", "softmax interpret"):
        expect(link(page, name)).to_be_visible()

    assert page.wrong == []
    assert [url for url in page.asked if not url.startswith((ui, "data:", "blob:"))] == []


def test_the_best_runs_come_first_under_the_columns_that_matter(built, ui, page):
    open_experiment(page, ui, "numbers")
    with page.expect_popup() as opened:
        link(page, "Best runs first").click()
    page = opened.value
    expect(page.get_by_text("matching runs")).to_have_text("6 matching runs")  # two runs, four cells of sweeps
    rows = page.locator(".ag-row a").all_inner_texts()
    excess = {name: values["excess"] for name, values in json.loads((built.path / "metrics/compare.json").read_text()).items() if "excess" in values}
    assert [name for name in rows if name in excess] == sorted(excess, key=excess.__getitem__)
    columns = page.locator(".ag-header-cell[col-id^='metrics.']").all()
    placed = sorted((cell.bounding_box()["x"], cell.get_attribute("col-id")) for cell in columns)
    assert [name for _, name in placed][:2] == ["metrics.`excess`", "metrics.`test_loss`"]
    page.close()


def test_a_champion_is_in_the_registry(ui, page):
    page.goto(f"{ui}/#/models/numbers")
    expect(page.get_by_text("@ champion")).to_be_visible()
    assert page.wrong == []


def test_a_training_shows_its_curves(ui, page):
    open_run(page, ui, "softmax", "softmax seed 0")
    page.get_by_role("tab", name="Model metrics").click()
    assert {name: drawn(page, name) for name in ("train_loss", "validation_loss", "lr", "grad_norm")} == {
        "train_loss": 4,
        "validation_loss": 2,
        "lr": 4,
        "grad_norm": 4,
    }
    assert page.wrong == []


def test_a_training_shows_its_checkpoint(ui, page):
    open_run(page, ui, "softmax", "softmax seed 0")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("checkpoint", exact=True).click()
    expect(page.get_by_text("model.safetensors", exact=True)).to_be_visible()
    page.get_by_text("config.json", exact=True).click()
    expect(page.get_by_text('"attention": "softmax"')).to_be_visible()
    assert page.wrong == []


def test_a_training_shows_its_figure_and_parameters(ui, page):
    open_run(page, ui, "softmax")
    expect(page.get_by_role("row").filter(has_text="training.lr").filter(has_text="0.002")).to_be_visible()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("figures", exact=True).click()
    page.get_by_text("curves.png", exact=True).click()
    figure = page.get_by_alt_text("figures/curves.png")
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    assert page.wrong == []


def test_plain_mlflow_ui_shows_the_same_runs(built):
    expected = stored(built)
    assert {"softmax", "linear", "softmax seed 0", "linear evaluate"} < expected["numbers"]
    with serving(built, "mlflow ui") as address:
        assert names(MlflowClient(address)) == expected


def test_the_report_opens_without_a_network(built, page):
    report = built.path / "plots/report.html"
    page.goto(report.as_uri())
    assert page.asked == [report.as_uri()]
    assert page.wrong == page.said == []

    assert page.get_by_role("heading", level=1).all_inner_texts() == ["picollm: results"]
    assert page.get_by_role("heading", level=2).all_inner_texts() == ["The answer", "Numbers", "Text", "Runs", "Fingerprints"]
    assert page.get_by_role("heading", level=3).all_inner_texts() == ["numbers numeric", "Sweeps", "story text"]
    assert {"Samples", "More tables", "rates", "The numbers"} <= {text.strip() for text in page.locator("summary").all_text_contents()}

    widths = page.locator("img").evaluate_all("images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))")
    drawn = page.locator('[id^="sweeps-"] figure svg').count()
    assert drawn >= 2  # losses over the grid of one sweep, excess by length of the other
    found = [read_record(path) for path in (built.path / "metrics/interpret").glob("*.json")]
    draws = [any(file.endswith(".png") for file in entry.get("files", [])) for report_ in found for entry in report_.values()]
    assert len(widths) == sum(draws) >= 4, "a picture of every analysis that draws"
    assert min(widths) > 100
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    curves = page.locator(".curves svg")
    assert curves.count() >= 4
    assert all(box["width"] > 100 and box["height"] > 100 for box in (curve.bounding_box() for curve in curves.all()))
