"""What was not reached: what the ledger refutes, proofs that fail, sweeps whose aim some seed missed. Computed, like all else."""

from collections.abc import Iterator, Sequence

from picollm.report import sweeps
from picollm.report.collect import Sweep, Task
from picollm.report.ledger import HOLDS, OPEN, Judged
from picollm.report.writing import estimate


def misses(tasks: Sequence[Task], found: Sequence[Sweep], judged: Sequence[Judged]) -> list[tuple[str, str]]:
    """[(what, how far it got)]"""
    return [*_proofs(tasks), *_aims(found), *_claims(judged)]


def _proofs(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    for run in (run for task in tasks for run in task.evaluated):
        right = run.summary.get("strata_exact")
        if right and right["mean"] < 1:
            yield f"strata of {run.name}", f"{estimate(right, percent=True)} % right"
        for seed, value in run.evaluation["seeds"].items():
            proof = value.get("proof", {})
            if "holds" in proof and not proof["holds"]:
                yield f"proof of {run.name}, seed {seed}", f"{proof['failures']:,} failures"


def _aims(found: Sequence[Sweep]) -> Iterator[tuple[str, str]]:
    for sweep in (sweep for sweep in found if sweep.config.get("success") and sweep.cells):
        cells = sweeps.chosen(sweep)
        missed = [sweeps.called(sweep, cell) for cell in cells if not sweeps.all_solved(cell)]
        if missed:
            yield f"{sweep.name}: {sweeps.success(sweep)}", f"in every seed by {len(cells) - len(missed)} of {len(cells)}; not by {', '.join(missed)}"


def _claims(judged: Sequence[Judged]) -> Iterator[tuple[str, str]]:
    for one in judged:
        if one.tested and one.verdict not in (HOLDS, OPEN):
            yield f"claim: {one.claim.claim}", one.verdict
