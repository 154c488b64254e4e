"""The report in a real browser: nothing is fetched, nothing goes wrong; tables sort, curves answer, runs are compared; without script all is there."""

from pathlib import Path
from typing import Any

import pytest
from test_report import inputs, parameters

from picollm.report.compare import compare


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = inputs(tmp_path_factory.mktemp("browsed"))
    compare(parameters(), root)
    return root / "plots/report.html"


@pytest.fixture
def tab(page: Any, report: Path) -> Any:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(report.as_uri())
    yield page
    assert page.asked == [report.as_uri()]
    assert not page.wrong
    assert not page.said


def firsts(table: Any) -> list[str]:
    return [text.strip() for text in table.locator("tbody tr > :first-child").all_inner_texts()]


def test_tables_sort_by_a_column_and_keep_the_floor_last(tab: Any) -> None:
    table = tab.locator("#task-classic table").first
    before = firsts(table)
    assert before[:2] == ["softmax", "linear"]
    table.get_by_role("button", name="excess over floor").click()
    table.get_by_role("button", name="excess over floor").click()
    assert firsts(table) == ["linear", "softmax", *firsts(table)[2:]], "largest first"
    assert {"exact floor, expected", "bigram"} <= set(firsts(table)[2:]), "what is no run stays last"
    assert table.locator("[aria-sort=descending]").count() == 1


def test_a_curve_says_what_is_under_the_pointer(tab: Any) -> None:
    figure = tab.locator("figure", has_text="longer sequences").first
    box = figure.locator("svg").bounding_box()
    lines = figure.evaluate("figure => JSON.parse(figure.dataset.lines)")
    line = next(line for line in lines if line["name"] == "linear")
    x, y, across, up = line["points"][-1]
    scale = box["width"] / float(figure.locator("svg").get_attribute("viewBox").split()[2])
    figure.locator("svg").hover(position={"x": x * scale, "y": y * scale})
    assert figure.locator("output").inner_text() == f"linear: {up:g} at {across:g}"
    assert (across, up) == (512, pytest.approx(0.304)), "the mean over three seeds of a loss of 0.3 + excess"


def test_runs_are_filtered_and_two_are_compared(tab: Any) -> None:
    tab.locator("#filter").fill("class")
    assert tab.locator(".card:visible").count() == 2, "by their task"
    for name in ("softmax", "linear"):
        tab.get_by_label(f"compare {name}").check()
    compared = tab.locator("#compared")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in compared.inner_text().splitlines() if "\t" in line}
    assert rows["model.attention"] == ["softmax", "linear"]
    assert "model.d_model" not in rows, "the same in both"
    assert rows["excess over floor"] == ["0.002000 ± 0.0025", "0.004000 ± 0.0050"]
    tab.locator("#filter").fill("")
    tab.get_by_label("compare lstm").check()
    assert tab.locator(".tick input:checked").count() == 2, "the last two"
    tab.get_by_label("compare lstm").uncheck()
    assert compared.inner_text() == ""


def test_nothing_is_wider_than_a_telephone(tab: Any, report: Path) -> None:
    tab.set_viewport_size({"width": 400, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_without_script_everything_can_be_read(page: Any, report: Path) -> None:
    page.context.new_cdp_session(page).send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.goto(report.as_uri())
    assert page.get_by_role("button").count() == 0
    assert page.locator("#filter").is_hidden(), "what would do nothing is not shown"
    assert page.get_by_text("0.002000 ± 0.0025").first.is_visible()
