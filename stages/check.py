"""check: all parameters, at every budget, before any other stage does any work.

Its output never changes, so that a changed parameter is checked but restarts only what depends on it.
"""

from pathlib import Path

from picollm import study
from picollm.analysis._options import Options
from picollm.core import devices
from picollm.core.config import BUDGETS, parse
from picollm.core.files import write_json
from picollm.generation.samples import Samples


def main(params: study.Study) -> None:
    devices.resolve(params.device)
    for budget in BUDGETS:
        at_budget = study.Study(params.raw, budget)
        at_budget.check()
        parse(Options, at_budget.params["interpret"], "interpret")
        parse(Samples, at_budget.params["samples"], "samples")
    write_json(Path("data/checked.json"), {"format": 1})
