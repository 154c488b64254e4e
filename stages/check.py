"""check: all parameters, at every budget, before any other stage does any work; then the plan of each, on which it depends."""

from picollm import plans, study
from picollm.analysis._options import Options
from picollm.core import devices
from picollm.core.config import BUDGETS, parse
from picollm.generation.samples import Samples


def main(params: study.Study) -> None:
    devices.resolve(params.device)
    for budget in BUDGETS:
        at_budget = study.Study(params.raw, budget)
        at_budget.check()
        parse(Options, at_budget.params["interpret"], "interpret")
        parse(Samples, at_budget.params["samples"], "samples")
    plans.write(params)
