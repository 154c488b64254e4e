"""`python -m stages STAGE [NAME]`: what all stages do before and around their work."""

import importlib
import sys

from picollm import allocator
from picollm.errors import UserError, exit_on_user_error

STAGES = ("check", "generate", "tokenize", "train", "evaluate", "interpret", "sweep", "compare")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in STAGES:
        raise UserError(f"usage: python -m stages {{{','.join(STAGES)}}} [NAME]; `dvc repro` calls them in order")
    from picollm.config import read
    from picollm.study import Study

    importlib.import_module(f"stages.{sys.argv[1]}").main(Study(read()), *sys.argv[2:])


if __name__ == "__main__":
    allocator.apply()
    exit_on_user_error(main)
