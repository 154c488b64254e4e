"""compare: all runs side by side: metrics/compare.json, plots/compare and the report."""

from pathlib import Path

from picollm.report.compare import compare
from picollm.study import Study


def main(study: Study) -> None:
    compare({"budget": study.budget, **study.params}, Path(), study.raw)
    print("report: plots/report.html   numbers: metrics/compare.json, `dvc metrics show`   runs: make ui")
