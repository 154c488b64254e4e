"""Drawings: the same bytes every time, colours that stay with a run, the floor and the trained length in the picture."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from picollm.core.statistics import summary
from picollm.report import figures
from picollm.report.figures import COLOURS, Style

CURVE = [[{"step": step, "train_loss": 4 / step + seed, "validation_loss": 5 / step if step == 20 else ""} for step in (10, 20)] for seed in range(3)]
LENGTHS = [
    {"seed": seed, "length": length, "family": family, "loss": 0.4 + seed / 10, "floor": 0.3, "excess": 0.1, "accuracy": 0.8}
    for seed in range(2)
    for length in (32, 64, 512)
    for family in ("all", "walk")
]
CELLS: list[dict[str, Any]] = [
    {"point": {"lr": lr, "wide": wide}, "summary": {"train_loss": summary([lr, lr + 1]), "validation_loss": summary([lr + 2])}}
    for lr in (0.1, 1, 10)
    for wide in (True, False)
]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(figure: Figure, label: str, panel: int = 0) -> tuple[list[float], list[float]]:
    found = next(line for line in figure.axes[panel].get_lines() if line.get_label() == label)
    return list(found.get_xdata()), list(found.get_ydata())


def test_curves_are_means_over_seeds_with_the_floor() -> None:
    figure = figures.training_curves({"a": CURVE}, floor=0.125)
    assert line(figure, "a") == ([10, 20], [pytest.approx(1.4), pytest.approx(1.2)])
    assert line(figure, "a", panel=1) == ([20], [0.25]), "only where it was measured"
    assert line(figure, "exact floor 0.125")[1] == [0.125, 0.125]
    assert labels(figure) == ["a", "exact floor 0.125"]


def test_one_table_of_all_seeds_draws_what_a_table_per_seed_does() -> None:
    flat = [[row for seed in CURVE for row in seed]]
    assert figures.svg(figures.training_curves({"a": flat})) == figures.svg(figures.training_curves({"a": CURVE}))


def test_an_excess_by_position_is_averaged_over_eighths_of_an_octave_within_each_seed() -> None:
    rows = [{"seed": seed, "family": "all", "position": place, "excess": place % 2 + seed} for seed in range(2) for place in (1, 2, 100, 101, 105, 106)]
    positions, values = line(figures.lengths({"a": rows}, "excess", x="position"), "a")
    assert positions == [1, 2, pytest.approx(98.701), pytest.approx(107.635)]
    assert values == [1.5, 0.5, 1.0, 1.0]


def test_lengths_mark_floor_and_trained_length() -> None:
    figure = figures.lengths({"a": LENGTHS}, trained=32)
    assert line(figure, "a") == ([32, 64, 512], [pytest.approx(0.45)] * 3)
    assert line(figure, "exact floor") == ([32, 64, 512], [0.3] * 3)
    assert line(figure, "trained up to length 32")[0] == [32, 32]
    unknown = [{**row, "floor": ""} for row in LENGTHS]
    assert labels(figures.lengths({"a": unknown})) == ["a"], "a text has no floor on longer windows"
    assert labels(figures.lengths({"a": LENGTHS}, column="excess")) == ["a"], "an excess has no floor but 0"


def test_sweep_draws_the_longest_parameter_and_a_line_for_each_choice_of_the_others() -> None:
    figure = figures.sweep(["wide", "lr"], CELLS)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "lr"
    assert axes.get_xscale() == "log"
    assert [container.get_label() for container in axes.containers] == [
        f"{loss}, wide {wide}" for wide in (True, False) for loss in ("validation loss", "training loss")
    ]
    assert list(axes.containers[0].lines[0].get_ydata()) == pytest.approx([2.1, 3, 12])


def test_sweep_of_variants_has_lines_for_each() -> None:
    figure = figures.sweep(["lr"], [{**cell, "variant": "wide" if cell["point"]["wide"] else "narrow"} for cell in CELLS])
    assert [container.get_label() for container in figure.axes[0].containers] == [
        f"{loss}, {variant}" for variant in ("wide", "narrow") for loss in ("validation loss", "training loss")
    ]


@pytest.mark.parametrize(("floor", "column"), [(0.3, "excess"), ("0.3", "excess"), (0.0, "accuracy"), ("0.0", "accuracy"), ("", "loss"), (None, "loss")])
def test_what_is_drawn_over_the_length_depends_on_the_floor(floor: Any, column: str) -> None:
    assert figures.length_column([{"family": "all", "floor": floor}, {"family": "walk", "floor": 1.4}]) == column


def test_sweep_over_names_stands_in_their_order() -> None:
    cells = [{"point": {"norm": norm}, "summary": {"train_loss": summary([1]), "validation_loss": summary([2])}} for norm in ("pre", "post", None)]
    figure = figures.sweep(["norm"], cells)
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["pre", "post", "None"]


def test_many_lines_leave_the_picture_its_height() -> None:
    heights = []
    for count in (6, 24):
        figure = figures.lengths({f"run{number}": LENGTHS for number in range(count)})
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height / figure.dpi)
    assert heights[1] == pytest.approx(heights[0], abs=0.15)


def test_an_excess_that_explodes_leaves_what_is_near_the_floor_to_be_seen() -> None:
    def drawn(scale: float) -> Figure:
        return figures.lengths({"a": [{**row, "excess": scale * row["length"]} for row in LENGTHS]}, "excess")

    assert drawn(1e-5).axes[0].get_yscale() == "linear"
    assert figures.lengths({"a": [{**row, "excess": 1.5} for row in LENGTHS]}, "excess").axes[0].get_yscale() == "linear", "nothing is near the floor"
    wide = drawn(0.01).axes[0]
    assert wide.get_yscale() == "symlog"
    assert -0.01 < wide.get_ylim()[0] < 0 < 5.12 < wide.get_ylim()[1]


@pytest.mark.parametrize("draw", [lambda: figures.training_curves({}), lambda: figures.lengths({}), lambda: figures.lengths({"a": []}, trained=32)])
def test_nothing_to_draw_is_an_empty_picture(draw: Any) -> None:
    assert figures.svg(draw()).startswith("<svg")


def test_png_is_the_same_bytes_and_does_not_name_its_maker(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figures.save(figures.training_curves({"a": CURVE}, ["train_loss"]), tmp_path / f"{name}.png", dpi=50)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
    assert "Software" not in image.info
    assert image.width == pytest.approx(4.6 * 50, abs=1)


def test_svg_takes_its_ink_from_the_page_and_refers_to_nothing_outside() -> None:
    source = figures.svg(figures.training_curves({"<b>&_$": CURVE}, floor=0.1))
    assert "currentColor" in source
    assert "var(--rule)" in source
    assert figures.INK not in source
    assert "http" not in source
    assert "<b>" not in source
    assert "&lt;b&gt;&amp;_$" in source
    assert "<g id=" not in source
    assert "<metadata" not in source


def test_names_are_not_taken_for_formulas_and_all_stand_in_the_legend() -> None:
    figure = figures.training_curves({"_a$x^": CURVE, "$b$": CURVE})
    figure.draw_without_rendering()
    assert len(labels(figure)) == 2


@given(st.integers(1, 40), st.integers(0, 39))
def test_a_style_does_not_depend_on_later_runs_and_the_first_24_of_a_task_differ(count: int, extra: int) -> None:
    runs = {f"run{number}": {"task": "a"} for number in range(count)}
    more = {**runs, **{f"more{number}": {"task": "b" if number % 2 else "a"} for number in range(extra)}}
    found = figures.styles(runs)
    assert {name: figures.styles(more)[name] for name in runs} == found
    assert len(set(found.values())) == min(count, 24)


def test_tasks_have_their_own_colours() -> None:
    assert figures.styles({"a": {"task": "x"}, "b": {"task": "y"}, "c": {"task": "x"}}) == {
        "a": Style(COLOURS[0]),
        "b": Style(COLOURS[0]),
        "c": Style(COLOURS[1]),
    }
