"""`share`: a trained model with its card, for the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from picollm.commands._options import ModelSeed, RunName
from picollm.loaded.folders import folder_of


def share(
    run: RunName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder")],
    push: Annotated[str | None, typer.Option(metavar="USER/NAME", help="upload it to this repository of the Hub (HF_TOKEN, HF_ENDPOINT)")] = None,
    private: Annotated[bool, typer.Option("--private", help="for nobody else to see")] = False,
    model_seed: ModelSeed = 0,
) -> None:
    """Write a trained model with a card of what was measured of it: a folder that the Hugging Face Hub takes, and every verb here as a RUN.

    Example: python -m picollm share adder shared --push user/adder
    """
    from picollm import hub

    print(f"{hub.share(folder_of(run, model_seed), folder, push, private)} holds the model and its card")
