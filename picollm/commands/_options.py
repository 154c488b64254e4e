"""Arguments that several verbs take."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer

from picollm.core.errors import UserError
from picollm.loaded.folders import runs


def complete(incomplete: str) -> Iterator[str]:
    """For the shell: a folder without parameters has no runs to offer, and an error would only disturb who is typing."""
    with suppress(UserError):
        yield from (name for name in runs() if name.startswith(incomplete))


RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run of params.yaml, or a checkpoint folder", autocompletion=complete)]
ModelSeed = Annotated[int, typer.Option(help="which of the run's models")]
AsJson = Annotated[bool, typer.Option("--json", help="as JSON, for scripts")]
