"""What MLflow knows of the time that the newest training of every run took."""

from collections.abc import Iterable
from dataclasses import dataclass

from picollm import tracking


@dataclass(frozen=True)
class Seed:
    """A seed's training: how fast it was, and where it stood when."""

    seed: str
    seconds: float  # of training; validation left out
    tokens_per_second: float
    course: list[tuple[float, float]]  # (seconds since the start, validation loss)


@dataclass(frozen=True)
class Training:
    run: str
    address: str  # in MLflow's UI
    seeds: list[Seed]


def trainings(runs: Iterable[tuple[str, str]]) -> list[Training]:
    """The newest finished training of every (run, task) that has one."""
    found = [(name, tracking.newest(name, task)) for name, task in runs]
    return [Training(name, f"#/experiments/{one.experiment}/runs/{one.run}", [_seed(seed) for seed in one.seeds]) for name, one in found if one]


def _seed(logged: tracking.Curves) -> Seed:
    """The times of points are those of the batches that they were written in; tokens and their rate tell more."""
    seconds, tokens = 0.0, 0.0
    course = []
    for _, row in sorted(logged.rows.items()):
        if "tokens_per_second" in row:
            seconds += (row["tokens"] - tokens) / row["tokens_per_second"]
            tokens = row["tokens"]
        if "validation_loss" in row:
            course.append((seconds, row["validation_loss"]))
    return Seed(logged.seed, seconds, tokens / seconds if seconds else 0.0, course)
