"""picollm: a study bench of tiny language models whose best possible loss is known."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picollm.models import Model

__version__ = "0.1.0"


def load(path: str | Path) -> "Model":
    """The trained model of a checkpoint folder, e.g. load("data/checkpoints/classic_softmax/seed0"), ready to evaluate."""
    from picollm.training.checkpoints import load_model  # torch takes a second: only who loads a model pays

    return load_model(Path(path))
