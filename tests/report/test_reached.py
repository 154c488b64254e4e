"""What was not reached is found in the evaluations: proofs that fail, as the files write them, and strata that are not all right."""

import pytest

from picollm.core.statistics import summary
from picollm.report.collect import Run, Task
from picollm.report.figures import Style
from picollm.report.reached import misses


def task(seeds, strata):
    run = Run("adder", {}, Style("#000000"), evaluation={"seeds": seeds, "summary": {"strata_exact": summary(strata)}})
    return Task("addition", {"kind": "addition"}, {}, {}, [run])


@pytest.mark.parametrize("false", [0.0, False])
def test_a_proof_that_fails_is_listed_with_its_failures(false):
    seeds = {"0": {"proof": {"holds": 1.0, "failures": 0}}, "1": {"proof": {"holds": false, "failures": 4950}}, "2": {}}
    assert misses([task(seeds, [1.0, 1.0])], [], []) == [("proof of adder, seed 1", "4,950 failures")]


def test_strata_that_are_not_all_right_are_listed():
    assert misses([task({"0": {}}, [0.75])], [], []) == [("strata of adder", "75.00 % right")]
