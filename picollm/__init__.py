"""picollm: a study bench of tiny language models whose best possible loss is known."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picollm.loaded.model import Loaded

__version__ = "0.1.0"


def load(path: str | Path, seed: int = 0) -> "Loaded":
    """The trained model of a checkpoint folder, or of a run and `seed`, ready to evaluate; it also writes, scores and explains texts.

    >>> load("classic_linear").score("3 5 7").counted
    2
    >>> load("data/checkpoints/classic_linear/seed0").n_parameters > 0
    True
    """
    from picollm.loaded.model import load  # torch takes a second: only who loads a model pays

    return load(path, seed)
