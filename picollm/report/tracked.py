"""What MLflow is told of a task: its best model, and which columns its runs are read by."""

from dataclasses import dataclass

from picollm.report.collect import Task, differences, made_of
from picollm.report.writing import estimate, judged_by


@dataclass(frozen=True)
class Champion:
    run: str
    seed: int
    fingerprint: str  # of the run's training
    metric: str  # that it is the best by
    described: str


def champion(task: Task) -> Champion | None:
    """The run nearest to the floor, and of its seeds the one with the lowest validation loss: test sets judge runs and choose no weights.

    None where no run of this budget has been evaluated.
    """
    metric = task.primary
    judged = [run for run in task.evaluated if not run.missing and run.summary.get(metric)]
    if not judged:
        return None
    best = min(judged, key=lambda run: run.summary[metric]["mean"])
    losses = {int(seed): values["validation_loss"] for seed, values in best.train["seeds"].items()}
    seed = min(losses, key=lambda seed: (losses[seed], seed))
    said = f"{best.name}, seed {seed} of {len(losses)}: {metric} {estimate(best.summary[metric])}, the lowest of {len(judged)} runs of {task.name}."
    return Champion(best.name, seed, best.train["fingerprints"][str(seed)], metric, said)


def columns(task: Task) -> tuple[list[str], list[str]]:
    """Metrics, the one that judges first, and the parameters by which the task's runs differ."""
    measured = {name for run in task.evaluated for name in run.summary}
    metrics = [name for name in dict.fromkeys((task.primary, *judged_by(task.kind))) if name in measured]
    return ([*metrics, "parameters"] if metrics else []), sorted(differences([made_of(run) for run in task.evaluated]))
