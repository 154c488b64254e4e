"""Which checkpoint is meant: a run of params.yaml by its name, or a folder by its path.

A run that has not been trained here is the one that came with the repository, where it is one of those.
"""

from pathlib import Path
from typing import Any

from picollm.core.config import read
from picollm.core.errors import UserError, did_you_mean
from picollm.study import Study

CHECKPOINTS = Path("data/checkpoints")
SHIPPED = Path("data/shipped")  # a few small models that the repository holds: picollm/loaded/ship.py


def folder_of(run: str, seed: int = 0) -> Path:
    """The folder of a run's model, or the folder named itself. Raises UserError for what there is not, with what comes near."""
    if (Path(run) / "config.json").exists():
        return Path(run)
    folder = home_of(run) / f"seed{seed}"
    if not folder.exists():
        if run in trained():
            raise UserError(f"{folder}: no such model; the run has {', '.join(map(str, models_of(run))) or 'none'}")
        if run in runs():
            raise UserError(f"{run}: is not trained yet; run `dvc repro train@{run}` or make study")
        raise UserError(f"{run}: no such run {did_you_mean(run, runs())}")
    return folder


def home_of(run: str) -> Path:
    """The folder of a run's models."""
    own, shipped = CHECKPOINTS / run, SHIPPED / run
    return shipped if not (own / "run.json").exists() and (shipped / "run.json").exists() else own


def runs() -> dict[str, Any]:
    return Study(read()).params["runs"]


def trained() -> list[str]:
    """The runs that have models, whether or not params.yaml still names them."""
    return sorted({path.parent.name for folder in (CHECKPOINTS, SHIPPED) for path in folder.glob("*/run.json")})


def models_of(run: str) -> list[str]:
    """seed0, seed1, ... of a run, in the order of their numbers."""
    return sorted((path.parent.name for path in home_of(run).glob("seed*/config.json")), key=lambda name: (len(name), name))
