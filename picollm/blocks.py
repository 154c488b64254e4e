"""The blocks of params.yaml that name runs: sweeps over them, what counts as success there, and pairs to look into side by side."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from picollm.core.config import STRICT, not_negative
from picollm.training.recipe import Run

TRAINED = ("train_loss", "validation_loss")  # what a sweep without evaluation measures
CHECKPOINT = re.compile(r"\w[\w-]*/seed\d+(/(step|epoch)\d+)?")


@dataclass(frozen=True)
class Success:
    """What a seed must reach to count as one that solved its task."""

    __pydantic_config__ = STRICT

    metric: str  # of the evaluation's summary, such as accuracy_256
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("at_least: give either at_least or at_most, and not both")

    def holds(self, value: float) -> bool:
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


@dataclass(frozen=True)
class Sweep:
    """A base trained at every point of a grid of dotted parameters, e.g. {"training.lr": [0.001, 0.002]}.

    The base is a run, or a group of model variants that one `training` block trains: then without a grid, too, and all of the group
    or `only` some.
    """

    __pydantic_config__ = STRICT

    base: str  # runs.NAME or variants.GROUP: written as DVC reads it, so that the sweep depends on just that block
    task: str  # a run's own; written out because DVC reads it too
    seeds: int
    grid: dict[str, list[Any]] = field(default_factory=dict)
    training: dict[str, Any] | None = None  # checked as a Recipe, of which a grid may change some
    only: list[str] | None = None
    success: Success | None = None
    equal_parameters: bool = True  # are a group's variants refused when they are not of one size?
    evaluate: bool = True  # on the test sets and longer sequences, as a run is

    def __post_init__(self) -> None:
        kind, _, name = self.base.partition(".")
        if kind not in ("runs", "variants") or not name:
            raise ValueError(f"base: {self.base!r} is no block to start from; write runs.NAME or variants.GROUP")
        not_negative(self, "seeds")
        if self.group is None:
            if not self.grid:
                raise ValueError("grid: is empty; name a parameter and its values, such as training.lr: [0.001, 0.002]")
            for unused in ("training", "only"):
                if getattr(self, unused) is not None:
                    raise ValueError(f"{unused}: belongs to a sweep of variants; {self.base} is a run, which a grid changes")
        elif self.training is None:
            raise ValueError("training: is missing; a sweep of variants has a training block of its own")
        if self.only == []:
            raise ValueError("only: names no variant; leave it out for all of the group, or set seeds to 0")
        for parameter, values in self.grid.items():
            if not parameter.startswith(("model.", "training.", "task.")):  # its seeds are the sweep's own
                raise ValueError(f"grid.{parameter}: a grid changes a run's model, training and task; write model.NAME, training.NAME or task.NAME")
            if not values:
                raise ValueError(f"grid.{parameter}: has no values; give at least one")
            if len({json.dumps(value) for value in values}) < len(values):
                raise ValueError(f"grid.{parameter}: has a value twice")
        if self.success and not self.evaluate and self.success.metric not in TRAINED:
            raise ValueError(f"success.metric: {self.success.metric} is measured by evaluation; set evaluate: true, or take one of {', '.join(TRAINED)}")

    @property
    def group(self) -> str | None:
        """The group of variants that it trains, if it does."""
        kind, _, name = self.base.partition(".")
        return name if kind == "variants" else None


@dataclass(frozen=True)
class Cell:
    """One training of a sweep, all seeds of it: a variant (None in a sweep of a run) at a point of the grid."""

    label: str  # of the cell within its sweep: "gated lr=0.002"
    variant: str | None
    point: dict[str, Any]  # the grid's values, by dotted name
    run: Run
    task: dict[str, Any] | None = None  # the block of its own task, where the grid changes the task


@dataclass(frozen=True)
class Pair:
    """Two models of one task whose insides one page shows side by side: checkpoints below data/checkpoints, such as classic_linear/seed0, or
    fables_transformer/seed0/step000000 of a run that keeps snapshots, which is the model before its training.
    """

    __pydantic_config__ = STRICT

    left: str
    right: str

    def __post_init__(self) -> None:
        for name in ("left", "right"):
            if not CHECKPOINT.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}: {getattr(self, name)!r} names no checkpoint; write RUN/seed0, or RUN/seed0/step000000")
        if self.left == self.right:
            raise ValueError(f"right: is {self.right} too; name another checkpoint")
