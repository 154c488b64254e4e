"""How numbers are written, and which runs are compared with which."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.statistics import summary
from picollm.evaluation import skipped
from picollm.report.collect import Run, differences, flat, groups
from picollm.report.figures import COLOURS, Style
from picollm.report.markdown import text
from picollm.report.tables import estimates
from picollm.report.writing import NONE, estimate, number, verdict


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.35432, "0.3543"),
        (12.0, "12.00"),
        (1234.4, "1234"),
        (1234567, "1,234,567"),
        (0.000123456, "0.0001235"),
        (1.2e-6, "1.200e-06"),
        (-0.5, "-0.5000"),
        (9999.9, "10,000"),
        (0, "0"),
        (float("inf"), "inf"),
    ],
)
def test_number(value: float, written: str) -> None:
    assert number(value) == written


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_number_keeps_four_digits(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=5.1e-4, abs=1e-300)


def test_estimate() -> None:
    assert estimate(None) == NONE
    assert estimate(summary([0.5])) == "0.5000", "one seed allows no interval"
    assert estimate({"mean": 0.5, "n": 3, "low": 0.4, "high": 0.6}) == "0.5000 ± 0.10"
    assert estimate({"mean": 0.5, "n": 3, "low": 0.4, "high": 0.6}, percent=True) == "50.00 ± 10"
    assert estimate(summary([0.8, 0.8, 0.8])) == "0.8000 ± 0"


@pytest.mark.parametrize(
    ("low", "high", "reading"), [(0.1, 0.2, "higher"), (-0.2, -0.1, "lower"), (-0.1, 0.1, "no difference shown"), (0, 0.1, "no difference shown")]
)
def test_verdict(low: float, high: float, reading: str) -> None:
    assert verdict({"mean": (low + high) / 2, "n": 3, "low": low, "high": high}) == reading
    assert verdict({"mean": 1.0, "n": 1}) == "one seed: no interval"


def test_differences_are_named_to_the_leaf() -> None:
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
    assert differences([{"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}]) == {"a.c"}
    assert differences([{"a": 1}, {"a": 1, "b": None}]) == {"b"}, "absent is not None"
    assert differences([{"a": 1}]) == set()


def test_groups_are_a_run_and_what_differs_from_it_in_one_parameter() -> None:
    def run(name: str, lr: float = 1, **model: Any) -> Run:
        return Run(name, {"model": model, "training": {"lr": lr}}, Style(COLOURS[0]))

    runs = [
        run("a", kind="t", size=1),
        run("lstm", kind="l"),
        run("b", kind="t", size=2),
        run("two", lr=9, kind="t", size=2),
        run("rate", lr=9, kind="t", size=1),
        run("c", kind="t", size=3),
    ]
    assert [[one.name for one in group] for group in groups(runs)] == [["a", "b", "rate", "c"], ["lstm"], ["two"]]


def test_estimates_and_skips_are_found_at_any_depth() -> None:
    report = {"maps": {"metrics": {"walk.first": {"value": 0.5, "n": 3}}, "files": ["a.png"]}, "pca": {"skipped": "no table"}}
    assert estimates(report) == {"maps walk.first": {"value": 0.5, "n": 3}}
    assert skipped(report) == {"pca": "no table"}
    assert skipped(None) == {}


@given(st.text())
def test_markdown_text_stays_one_cell(value: str) -> None:
    written = text(value)
    assert "\n" not in written
    assert "<" not in written
    assert "|" not in written.replace("\\|", "")
