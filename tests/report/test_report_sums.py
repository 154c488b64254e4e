"""What the report says of adders is what the stages measured, and only of adders."""

from dataclasses import replace
from typing import Any

import pytest

from picollm.core.statistics import proportion
from picollm.report import sums
from picollm.report.collect import Run, Task
from picollm.report.figures import Style
from picollm.report.findings import sentences

STYLE = Style("#000000")


def seed(failures: int, right: list[int]) -> dict[str, Any]:
    rate = proportion(9, 10)
    return {
        "proof": {
            "kind": "certificate",
            "cases": 9150625,
            "pairs": 10**8,
            "failures": failures,
            "margin": 0.25,
            "rounding": 1e-5,
            "holds": float(not failures),
        },
        "strata": {
            "lengths": {"1x1": proportion(10, 10), "4x3": proportion(7, 10)},
            "chains": {"0": proportion(10, 10), "10": proportion(2, 10), "4": proportion(3, 10)},
            "suites": {"nines": proportion(5, 6)},
            "commutes": rate,
        },
        "test": {"first_wrong_at": [0, 2, 5]},
        "lengths": {str(length): {"exact": proportion(count, 100)} for length, count in zip((10, 30), right, strict=True)} | {"50": {"skipped": "too long"}},
    }


@pytest.fixture
def task() -> Task:
    curve = [{"step": str(step), "validation_loss": "1", "validation_exact": str(share)} for step, share in ((1, 0.1), (2, 0.9), (3, 1.0))]
    evaluation = {"seeds": {"0": seed(0, [100, 90]), "1": seed(12, [98, 80]), "2": seed(0, [100, 99])}, "summary": {"exact_10": {}, "exact_30": {}}}
    run = Run("adder", {"seeds": 3}, STYLE, evaluation=evaluation, curve=curve)
    generated = {
        "plateaus": {"0": 0.09150625, "1": 0.867025, "2": 0.991},
        "trained": 10,
        "tokens_per_problem": {"16": {"padded": 16.0, "mean": 15.0}, "2": {"padded": 47.0, "mean": 42.0}},
    }
    return Task("addition", {"kind": "addition"}, generated, {}, [run])


def found(task: Task, word: str) -> Any:
    return next(table for table in sums.tables(task) if table.caption.startswith(word))


def test_every_proof_is_a_row_and_the_rate_over_seeds_has_its_interval(task: Task) -> None:
    table = found(task, "Proofs")
    assert [row.cells[3] for row in table.rows] == ["0", "12", "0"]
    assert [row.cells[-1] for row in table.rows] == ["yes", "no", "yes"]
    assert table.notes == ["adder: proved for 2 of 3 seeds, which means a rate of at least 9 % (95 %)."]


def test_strata_show_the_worst_pair_of_lengths_and_each_chain(task: Task) -> None:
    assert found(task, "Right answers").rows[0].cells == ["4x3: 7 of 10", "10 of 10", "3 of 10", "2 of 10", "5 of 6", "9 of 10"]


def test_exact_match_is_the_median_over_seeds_where_it_was_measured(task: Task) -> None:
    table = found(task, "Exact match")
    assert table.head == ["run", "10", "30"]
    assert [cell.split()[0] for cell in table.rows[0].cells] == ["100.0", "90.00"]
    low, high = (float(end.strip("[],")) for end in table.rows[0].cells[1].split()[1:])
    assert (low, high) == (pytest.approx(100 * proportion(80, 100)["low"], abs=0.01), pytest.approx(100 * proportion(99, 100)["high"], abs=0.01))


def test_errors_are_added_over_seeds_and_bases_stand_in_order(task: Task) -> None:
    assert found(task, "First wrong").rows[0].cells == ["0", "6", "15"]
    assert [row.label for row in found(task, "Tokens").rows] == ["2", "16"]


def test_the_curve_has_the_plateaus_of_the_task(task: Task) -> None:
    figure = sums.curve(task)
    assert figure is not None
    heights = {line.get_ydata()[0] for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1}
    assert heights == {0.09150625, 0.867025, 0.991}
    assert [text.get_text() for text in figure.axes[0].texts] == ["looks back 0: 9.1506 %", "looks back 1: 86.7025 %"]


def test_other_tasks_have_none_of_it(task: Task) -> None:
    other = Task("parity", {"kind": "parity"}, task.generated, {}, task.runs)
    assert sums.tables(other) == []
    assert sums.curve(other) is None
    assert sums.curve(Task("addition", {"kind": "addition"}, {}, {}, [])) is None


def test_the_answer_names_proofs_and_the_longest_sums(task: Task) -> None:
    run = task.runs[0]
    summary = {"excess": {"mean": 0.5, "n": 3}, "excess_30": {"mean": 0.5, "n": 3}, "exact_30": {"mean": 0.9, "n": 3, "low": 0.7, "high": 1.1}}
    told = sentences(replace(task, runs=[replace(run, evaluation={**run.evaluation, "summary": summary})]))
    assert "Proved right on every pair of its range: adder in 2 of 3 seeds, with at most 12 failures elsewhere." in told[1]
    assert told[1].endswith("Right on sums of 30 digits, 3 times the longest trained: adder 90.00 ± 20 %.")
