"""`python -m stages STAGE [NAME]`: what all stages do before and around their work."""

import importlib
import sys

from picollm import forkserver
from picollm.core import startup
from picollm.core.errors import UserError, exit_on_user_error

# Whether a stage takes the NAME of a task, a run, a pair or a sweep.
NAMED = ("generate", "tokenize", "train", "evaluate", "interpret", "explore", "sweep")
STAGES = {"check": False, **dict.fromkeys(NAMED, True), "compare": False}


def main() -> None:
    stage, *names = sys.argv[1:] or [""]
    if STAGES.get(stage) != len(names):
        usage = ", ".join(f"{known} NAME" if named else known for known, named in STAGES.items())
        raise UserError(f"usage: python -m stages STAGE, which is one of {usage}; `dvc repro` calls them in order")
    from picollm.core.config import read
    from picollm.study import Study

    importlib.import_module(f"stages.{stage}").main(Study(read()), *names)


if __name__ == "__main__":
    startup.apply()
    if (status := forkserver.handed_over()) is not None:
        sys.exit(status)
    exit_on_user_error(main)
