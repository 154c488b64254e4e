"""The figures that documents quote are those of the committed metrics."""

import pytest

from picollm.core.files import read_record
from tests.documents.blocks import DOCUMENTS
from tests.documents.figures import ROOT, estimated, figures, found, renew

QUOTED = [figure for document in DOCUMENTS for figure in figures(document)]


@pytest.mark.parametrize("figure", QUOTED, ids=lambda figure: f"{figure.document.stem} {figure.file.rpartition('/')[2]} {figure.keys}")
def test_a_figure_is_that_of_the_metrics(figure):
    assert figure.shown == figure.there, "after a new study: python -m tests.documents.figures"


def test_there_are_figures():
    assert {figure.document.stem for figure in QUOTED} == {"tutorial", "teaching", "results", "structure", "lens", "roles", "addition"}
    assert len(QUOTED) > 30


def test_figures_are_written_anew(tmp_path):
    loss = found("metrics/generate/classic.json", "floor/loss")
    document = tmp_path / "some.md"
    where = "`metrics/generate/classic.json`: `floor/"
    rows = ["| what | figure | where |", "|---|---|---|", f"| loss | 9.99 | {where}loss` |", f"| right | 1.0 % | {where}accuracy` |", "| other | 1 | here |"]
    document.write_text("\n".join(rows))
    renew(document)
    assert f"| loss | {loss:.2f} | " in document.read_text()
    assert "| right | 82.9 % | " in document.read_text()
    assert "| other | 1 | here |" in document.read_text()


def test_an_estimate_is_quoted_with_its_interval_and_nulls():
    estimate = {
        "value": 0.92811,
        "low": 0.9106,
        "high": 0.9457,
        "n": 9,
        "untrained": 0.3,
        "untrained_low": 0.259,
        "untrained_high": 0.3802,
        "untrained_p": 0.05,
    }
    assert estimated(estimate) == "0.928 (0.911 to 0.946); untrained 0.26 to 0.38"


def test_entries_of_lists_are_found_by_a_name():
    cells = read_record(ROOT / "metrics/sweep/parity_attention.json")["cells"]
    gru = next(cell for cell in cells if cell["label"] == "gru")
    assert found("metrics/sweep/parity_attention.json", "cells/label=gru/parameters") == gru["parameters"]
