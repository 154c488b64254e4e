"""Sweeps of model variants on the page: a table each, one over all tasks, lines over the length, and the few numbers of compare.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from picollm.core.files import write_csv, write_json
from picollm.core.statistics import proportion, summary
from picollm.report import figures, sweeps
from picollm.report.collect import Sweep, collect
from picollm.report.compare import compare
from picollm.report.figures import COLOURS
from picollm.report.writing import NONE

EXCESS = {"softmax": [0.001, 0.002, 0.003], "linear": [0.004, 0.004, 0.004], "delta": [2.0, 3.0, 4.0]}
RIGHT = {"softmax": [0.5, 0.5, 0.5], "linear": [0.5, 0.6, 1.0], "delta": [1.0, 1.0, 1.0]}


def parameters() -> dict[str, Any]:
    common = {"base": "variants.kinds", "seeds": 3, "training": {"steps": 20}}
    return {
        "budget": "study",
        "tasks": {"classic": {"kind": "numeric", "spec": "classic"}, "parity": {"kind": "parity"}},
        "runs": {},
        "variants": {"kinds": {name: {"kind": "transformer", "attention": name} for name in EXCESS}},
        "sweeps": {
            "plain": {**common, "task": "classic"},
            "bits": {**common, "task": "parity", "only": ["softmax", "delta", "linear"], "success": {"metric": "accuracy_256", "at_least": 0.99}},
        },
    }


def cell(variant: str, values: dict[str, list[float]], label: str = "", **more: Any) -> dict[str, Any]:
    facts = {"point": {}, "parameters": 1000, "steps": 20, "tokens": 640, "fingerprint": "4d5e6f", "skipped": [], "seeds": {}}
    return {"label": label or variant, "variant": variant, "summary": {name: summary(value) for name, value in values.items()}, **facts, **more}


def write(root: Path, name: str, cells: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    write_json(root / f"metrics/sweep/{name}.json", {"base": "variants.kinds", "budget": "study", "cells": cells})
    write_csv(root / f"plots/sweep/{name}/length.csv", list(rows[0]), rows)
    (root / f"plots/sweep/{name}/length.png").write_bytes(b"drawn by the stage")


def length_rows(variant: str, floor: float, values: list[float], label: str = "") -> list[dict[str, Any]]:
    own = {"label": label or variant, "variant": variant, "family": "all", "loss": 1, "floor": floor}
    return [{**own, "seed": seed, "length": length, "excess": value, "accuracy": 0.5} for seed, value in enumerate(values) for length in (40, 256)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(figures, "svg", lambda figure: "<svg></svg>")
    floors = {"classic": {"loss": 0.35, "accuracy": 0.83}, "parity": {"loss": 0.0, "accuracy": 1.0}}
    for task, floor in floors.items():
        write_json(tmp_path / f"metrics/generate/{task}.json", {"floor": floor, "controls": {"uniform": {"loss": 4.8}}})
        write_json(tmp_path / f"metrics/tokenize/{task}.json", {"train": {"row_length": 40}})
    plain = [
        cell(name, {"excess": values, "excess_512": values, "test_accuracy": [0.8] * 3, "floor": [0.34] * 3, "validation_loss": values})
        for name, values in EXCESS.items()
    ]
    write(tmp_path, "plain", plain, [row for name, values in EXCESS.items() for row in length_rows(name, 0.3, values)])
    bits = [
        cell(
            name,
            {
                "excess": EXCESS[name],
                "excess_256": EXCESS[name],
                "accuracy_256": values,
                "test_accuracy": values,
                "floor": [0.0] * 3,
                "validation_loss": [1, 1, 1],
            },
            success=proportion(sum(value >= 0.99 for value in values), 3),
        )
        for name, values in RIGHT.items()
    ]
    write(tmp_path, "bits", bits, [row for name in RIGHT for row in length_rows(name, 0.0, [1, 2, 3])])
    return tmp_path


def report(root: Path, params: dict[str, Any] | None = None) -> tuple[str, str]:
    compare(params or parameters(), root)
    return (root / "plots/report.html").read_text(encoding="utf-8"), (root / "plots/report.md").read_text(encoding="utf-8")


def lines(markdown: str, title: str) -> dict[str, list[str]]:
    """{label: cells} of the table below a title, the head under its own first word."""
    found = markdown.split(f"### {title}\n")[1].split("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def sweep_of(root: Path, name: str, params: dict[str, Any] | None = None) -> Sweep:
    return next(sweep for sweep in collect(params or parameters(), root)[1] if sweep.name == name)


def test_a_table_has_size_primary_metric_accuracy_and_the_longest_length(root: Path) -> None:
    _, markdown = report(root)
    table = lines(markdown, "Sweep plain")
    assert table["variant"] == ["parameters", "excess over floor", "test accuracy, %", "excess 512"]
    assert table["softmax"] == ["1,000", "0.002000 ± 0.0025", "80.00 ± 0", "0.002000 ± 0.0025"]
    assert "Variants of kinds on classic: equal parameters (2 %), equal tokens. " in markdown
    assert "The exact floor is 0.3400 nats per token." in markdown, "of the test set that the excess was counted on, not the expected one"


def test_where_the_floor_is_zero_accuracy_is_what_is_told_and_success_has_its_interval(root: Path) -> None:
    _, markdown = report(root)
    table = lines(markdown, "Sweep bits")
    assert table["variant"] == ["parameters", "excess over floor", "test accuracy, %", "accuracy 256, %", "seeds with accuracy_256 ≥ 0.99"]
    assert table["delta"][3:] == ["100.0 ± 0", "3/3 [0.29, 1]"]
    assert table["linear"][3:] == ["70.00 ± 66", "1/3 [0.0084, 0.91]"]
    assert table["softmax"][4] == "0/3 [0, 0.71]"


def test_all_tasks_stand_in_one_table_with_their_floors(root: Path) -> None:
    page, markdown = report(root)
    table = lines(markdown, "Variants of kinds")
    assert table["variant"] == ["classic: excess over floor", "parity: excess over floor", "parity: accuracy_256 ≥ 0.99"]
    assert list(table)[2:] == ["softmax", "linear", "delta", "exact floor, nats"], "in the group's order"
    assert table["linear"] == ["0.004000 ± 0", "0.004000 ± 0", "1/3 [0.0084, 0.91]"]
    assert table["exact floor, nats"] == ["0.3400", "0", ""]
    assert "Variants of kinds on each task: equal parameters (2 %), equal tokens." in markdown
    assert page.index("Variants of kinds on each task") < page.index("Variants of kinds on classic")


def test_one_sweep_of_a_group_needs_no_table_of_several(root: Path) -> None:
    params = parameters()
    del params["sweeps"]["bits"]
    assert "# Variants of kinds" not in report(root, params)[1]


def test_a_variant_that_a_sweep_leaves_out_has_no_figure_there(root: Path) -> None:
    path = root / "metrics/sweep/plain.json"
    result = json.loads(path.read_text())
    write_json(path, {**result, "cells": result["cells"][:1]})
    assert lines(report(root)[1], "Variants of kinds")["delta"][0] == NONE


def test_what_is_not_equal_is_said(root: Path) -> None:
    path = root / "metrics/sweep/plain.json"
    result = json.loads(path.read_text())
    result["cells"][2] |= {"parameters": 1300, "tokens": 660}
    write_json(path, result)
    _, markdown = report(root)
    assert "Variants of kinds on classic: parameters up to 30 % apart, tokens up to 3.1 % apart." in markdown
    assert "classic with parameters up to 30 % apart, tokens up to 3.1 % apart; parity with equal parameters (2 %), equal tokens." in markdown


def test_the_answer_names_the_best_the_worst_and_who_succeeded(root: Path) -> None:
    page, markdown = report(root)
    assert (
        "- Of 3 variants of kinds (equal parameters (2 %), equal tokens), softmax (0.002000 ± 0.0025) has the lowest excess over floor "
        "and delta (3.000 ± 2.5) the highest."
    ) in markdown
    assert "- **variants of kinds** With success in every seed, bits (accuracy_256 ≥ 0.99): delta of 3." in markdown
    assert "- bits: accuracy_256 ≥ 0.99: in every seed by 1 of 3; not by softmax, linear" in markdown, "what was not reached is said too"
    assert "the highest. With accuracy_256 ≥ 0.99 in every seed: delta." in markdown
    assert "No results in this budget." not in page, "a task may have sweeps only"
    assert "no run" not in markdown


def test_of_a_single_variant_nothing_is_the_best(root: Path) -> None:
    path = root / "metrics/sweep/plain.json"
    result = json.loads(path.read_text())
    write_json(path, {**result, "cells": result["cells"][:1]})
    _, markdown = report(root)
    assert "the highest. With accuracy_256" in markdown, "of the other sweep"
    assert markdown.count("variants of kinds (equal") == 1


def test_what_all_cells_of_variants_share_is_told_once(root: Path) -> None:
    params = parameters()
    params["sweeps"]["plain"]["grid"] = {"training.lr": [0.1]}
    cells = [cell(name, {"excess": [1.0], "validation_loss": [1.0], "train_loss": [1.0]}, f"{name} lr=0.1", point={"training.lr": 0.1}) for name in EXCESS]
    write(root, "plain", cells, [row for one in cells for row in length_rows(one["variant"], 0.3, [1.0], one["label"])])
    _, markdown = report(root, params)
    assert "Variants of kinds on classic, with training.lr 0.1: equal parameters (2 %), equal tokens." in markdown
    assert list(lines(markdown, "Sweep plain"))[2:] == list(EXCESS)


def test_compare_json_has_best_worst_and_the_number_that_succeeded(root: Path) -> None:
    report(root)
    found = json.loads((root / "metrics/compare.json").read_text())
    assert found["sweep plain"] == pytest.approx({"best_excess": 0.002, "worst_excess": 3.0})
    assert found["sweep bits"] == pytest.approx({"best_excess": 0.002, "worst_excess": 3.0, "variants_solved": 1.0})


def test_lines_over_the_length_are_drawn_anew_in_the_groups_colours(root: Path) -> None:
    page, _ = report(root)
    assert page.count("<figcaption>by length</figcaption>") == 2
    assert "data:image" not in page, "the stage's own picture of the same table"
    ((_, drawn),) = sweeps.drawings(sweep_of(root, "bits"))
    found = {line.get_label(): line for line in drawn.axes[0].get_lines()}
    assert list(found) == ["softmax", "linear", "delta", "trained up to length 40"]
    assert [found[name].get_color() for name in EXCESS] == list(COLOURS[:3])
    assert drawn.axes[0].get_ylabel() == "accuracy", "the floor is 0"
    ((_, drawn),) = sweeps.drawings(sweep_of(root, "plain"))
    assert drawn.axes[0].get_ylabel() == "excess (nats per token)"


def test_of_a_grid_the_point_with_the_lowest_validation_loss_stands_for_the_variant(root: Path) -> None:
    params = parameters()
    params["sweeps"]["plain"]["grid"] = {"training.lr": [0.1, 0.2]}
    cells = [
        cell(
            name,
            {"excess": [10 * lr], "validation_loss": [loss], "train_loss": [loss]},
            f"{name} lr={lr}",
            point={"training.lr": lr},
        )
        for name, losses in {"softmax": (2.0, 1.0), "linear": (1.0, 2.0)}.items()
        for lr, loss in zip((0.1, 0.2), losses, strict=True)
    ]
    rows = [row for one in cells for row in length_rows(one["variant"], 0.3, [10 * one["point"]["training.lr"]], one["label"])]
    write(root, "plain", cells, rows)
    _, markdown = report(root, params)
    assert list(lines(markdown, "Sweep plain"))[2:] == ["softmax, 0.1", "softmax, 0.2", "linear, 0.1", "linear, 0.2"]
    table = lines(markdown, "Variants of kinds")
    assert [table[name][0] for name in ("softmax", "linear", "delta")] == ["2.000", "1.000", NONE]
    assert "Of a grid, the point with the lowest validation loss." in markdown
    (_, over_grid), (_, drawn) = sweeps.drawings(sweep_of(root, "plain", params))
    assert [container.lines[0].get_color() for container in over_grid.axes[0].containers] == [COLOURS[0], COLOURS[0], COLOURS[1], COLOURS[1]]
    assert {line.get_label(): list(line.get_ydata()) for line in drawn.axes[0].get_lines()[:2]} == {"softmax": [2, 2], "linear": [1, 1]}


def test_another_axis_has_its_own_column_and_picture(root: Path) -> None:
    path = root / "metrics/sweep/bits.json"
    result = json.loads(path.read_text())
    for one in result["cells"]:
        one["summary"]["accuracy_pairs_64"] = summary([0.25])
    write_json(path, result)
    rows = [{**row, "pairs": row["length"]} for name in RIGHT for row in length_rows(name, 0.0, [1])]
    write_csv(root / "plots/sweep/bits/pairs.csv", list(rows[0]), rows)
    page, markdown = report(root)
    assert lines(markdown, "Sweep bits")["variant"][3:5] == ["accuracy 256, %", "accuracy pairs 64, %"]
    assert "<figcaption>by pairs</figcaption>" in page


def test_what_was_skipped_is_said_with_the_reason(root: Path) -> None:
    path = root / "metrics/sweep/bits.json"
    result = json.loads(path.read_text())
    result["cells"][0]["skipped"] = ["rows of 256 terms; the model takes at most 40"]
    del result["cells"][0]["success"]
    write_json(path, result)
    _, markdown = report(root)
    assert "softmax: rows of 256 terms; the model takes at most 40." in markdown
    assert lines(markdown, "Sweep bits")["softmax"][-1] == NONE


def test_a_sweep_without_results_is_named(root: Path) -> None:
    (root / "metrics/sweep/bits.json").unlink()
    params = parameters()
    params["sweeps"]["bits"]["seeds"] = 0
    _, markdown = report(root, params)
    assert "- sweep bits: not part of budget study" in markdown
    assert "## Sweep bits" not in markdown
    assert set(json.loads((root / "metrics/compare.json").read_text())) == {"sweep plain"}
