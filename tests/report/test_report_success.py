"""Parameters against success: every rated cell is a point at its rate, with the interval that its seeds allow."""

from typing import Any

import numpy as np
import pytest

from picollm.core.statistics import proportion
from picollm.report import sweeps
from picollm.report.collect import Sweep
from picollm.report.reached import misses
from picollm.report.success import figure


def cell(parameters: int, width: int, successes: int, n: int = 10) -> dict[str, Any]:
    losses = {"validation_loss": {"mean": 0.1, "n": n}, "train_loss": {"mean": 0.2, "n": n}}
    point = {"model.d_model": width, "training.steps": 500}
    facts = {"label": f"d_model={width} steps=500", "variant": None, "skipped": [], "tokens": 1, "summary": losses}
    return {**facts, "parameters": parameters, "point": point, "success": proportion(successes, n)}


CELLS = [cell(1034, 8, 10), cell(298, 4, 0), cell(650, 6, 7)]


def test_a_point_stands_at_its_rate_with_its_interval() -> None:
    drawn = figure(CELLS, "strata_exact ≥ 1")
    assert drawn is not None
    axes = drawn.axes[0]
    (points, _, (bars,)) = axes.containers[0]
    assert points.get_xydata().tolist() == [[0, 0], [1, 0.7], [2, 1]]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert ends == pytest.approx(np.array([[proportion(k, 10)[end] for end in ("low", "high")] for k in (0, 7, 10)]))
    assert [text.get_text() for text in axes.texts] == ["0 of 10", "7 of 10", "10 of 10"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["298\nd_model 4", "650\nd_model 6", "1,034\nd_model 8"]
    assert axes.get_ylabel() == "seeds with strata_exact ≥ 1"


def test_there_is_none_without_rates_or_sizes() -> None:
    assert figure([], "x") is None
    assert figure([{key: value for key, value in one.items() if key != "success"} for one in CELLS], "x") is None
    assert figure([{**one, "parameters": 1000 + index} for index, one in enumerate(CELLS)], "x") is None


CONFIG = {
    "base": "runs.adder",
    "task": "addition",
    "grid": {"model.d_model": [4, 6, 8], "training.steps": [500]},
    "success": {"metric": "strata_exact", "at_least": 1.0},
}


def test_a_sweep_with_results_is_drawn_so() -> None:
    names = [name for name, _ in sweeps.drawings(Sweep("addition_size", CONFIG, {"cells": CELLS}))]
    assert names == ["losses over the grid", "parameters against success"]
    assert sweeps.drawings(Sweep("addition_size", CONFIG, {})) == []


def test_what_is_the_same_in_all_cells_is_told_once() -> None:
    sweep = Sweep("addition_size", CONFIG, {"cells": CELLS})
    table = sweeps.table(sweep)
    assert table is not None
    assert table.caption == "Base run adder, with training.steps 500."
    assert table.head[:2] == ["model.d_model", "parameters"]
    assert [(row.label, row.cells[0]) for row in table.rows] == [("8", "1,034"), ("4", "298"), ("6", "650")]
    assert [sweeps.called(sweep, one) for one in CELLS] == ["d_model=8", "d_model=4", "d_model=6"]
    assert list(misses([], [sweep], [])) == [("addition_size: strata_exact ≥ 1.0", "in every seed by 1 of 3; not by d_model=4, d_model=6")]


def test_a_single_cell_keeps_its_whole_name() -> None:
    sweep = Sweep("addition_size", CONFIG, {"cells": CELLS[:1]})
    table = sweeps.table(sweep)
    assert table is not None
    assert table.caption == "Base run adder."
    assert [row.label for row in table.rows] == ["8, 500"]
    assert sweeps.called(sweep, CELLS[0]) == "d_model=8 steps=500"
