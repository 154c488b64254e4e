"""From what somebody names to what is compared: a run of the workspace, REVISION:RUN, a revision or experiment, an MLflow run, a checkpoint folder."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from picollm.comparing import revisions
from picollm.comparing.compared import Compared, of_run
from picollm.comparing.resolved import resolved
from picollm.core.config import read
from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_json
from picollm.report.collect import Run, Task, collect, flat
from picollm.report.writing import plain

WORKSPACE = "workspace"
MLFLOW = re.compile(r"[0-9a-f]{32}")
Runs = dict[str, tuple[Run, Task]]


class Places:
    """Every place is read once."""

    def __init__(self) -> None:
        self.at = cache(self._at)
        self.commit = cache(revisions.commit)

    def groups(self, names: Sequence[str]) -> list[list[Compared]]:
        """What belongs side by side, each group with its reference first.

        Runs alone are compared with each other. Beside revisions each run is compared with itself there; revisions alone stand for all of
        their runs, one against the workspace, and without any name HEAD.
        """
        names = list(names) or ["HEAD"]
        ages = [name for name in names if self._is_revision(name)]
        others = [name for name in names if name not in ages]
        if not ages:
            if len(others) == 1:
                ages = ["HEAD"]
            else:
                return [[self.one(name) for name in others]]
        if not others:
            places = ages if len(ages) > 1 else [*ages, WORKSPACE]
            shared = [run for run in self.at(places[0]) if all(self._measured(place, run) for place in places)]
            if not shared:
                raise UserError(f"{' and '.join(places)} have no run in common that both measured; name two runs")
            return [[self._run(place, run) for place in places] for run in shared]
        for name in others:
            if name not in self.at(WORKSPACE):
                self.one(name)  # is there such a thing at all?
                raise UserError(f"{name}: is no run of params.yaml that {ages[0]} could have too; name what to compare it with")
        return [[*(self._run(age, name) for age in ages), self._run(WORKSPACE, name)] for name in others]

    def one(self, name: str) -> Compared:
        """Raises UserError for what there is not."""
        if name in self.at(WORKSPACE):
            return self._run(WORKSPACE, name)
        if (Path(name) / "config.json").exists():
            return self._checkpoint(Path(name))
        place, colon, run = name.rpartition(":")
        if colon:
            return self._run(self._checked(place), run)
        if MLFLOW.fullmatch(name) and (stored := _mlflow(name)):
            return stored
        raise UserError(f"{name}: no such run, revision, experiment, MLflow run or checkpoint {did_you_mean(name, [*self.at(WORKSPACE), *revisions.names()])}")

    def beside(self, name: str, run: str) -> Compared:
        """What a condition compares a run with: another run, or itself at a revision."""
        return self._run(name, run) if self._is_revision(name) else self.one(name)

    def _is_revision(self, name: str) -> bool:
        return name not in self.at(WORKSPACE) and not Path(name).is_dir() and ":" not in name and self.commit(name) is not None

    def _checked(self, place: str) -> str:
        if self.commit(place) is None:
            raise UserError(f"{place}: no such revision or experiment {did_you_mean(place, revisions.names())}")
        return place

    def _measured(self, place: str, run: str) -> bool:
        found = self.at(place).get(run)
        return found is not None and bool(found[0].train.get("seeds"))

    def _run(self, place: str, name: str) -> Compared:
        runs = self.at(place)
        where = "" if place == WORKSPACE else f"{place}:"
        if name not in runs:
            raise UserError(f"{where}{name}: no such run {did_you_mean(name, runs)}")
        return of_run(*runs[name], where)

    def _at(self, place: str) -> Runs:
        if place == WORKSPACE:
            tasks = collect(resolved(read()), Path())[0]
        else:
            hash_ = self.commit(place)
            if hash_ is None:
                raise UserError(f"{place}: no such revision; run in a git repository with a commit, or name two runs")
            tasks = revisions.tasks_at(place, hash_)
        return {run.name: (run, task) for task in tasks for run in task.runs}

    def _checkpoint(self, folder: Path) -> Compared:
        """Its own few parameters, and the figures of the seed that has its fingerprint."""
        facts: dict[str, Any] = read_json(folder / "config.json")
        seed = str(facts.get("seed"))
        kept = {name: facts[name] for name in ("task", "model") if name in facts}
        parameters = {name: plain(value) for name, value in flat(kept).items()}
        for run, task in self.at(WORKSPACE).values():
            if run.train.get("fingerprints", {}).get(seed) == facts.get("fingerprint") and facts.get("step") == run.train.get("steps"):
                found = of_run(run, task)
                values = {metric: {seed: own[seed]} for metric, own in found.values.items() if seed in own}
                curve = [row for row in found.curve if str(row["seed"]) == seed]
                return Compared(str(folder), values, parameters, False, found.stream, found.headlines, curve)
        return Compared(str(folder), {}, parameters, whole=False)


def _mlflow(run_id: str) -> Compared | None:
    from picollm import tracking  # here, as it brings MLflow, which takes a second

    stored = tracking.stored(run_id)
    if stored is None:
        return None
    return Compared(f"{stored['name']} ({run_id[:8]})", stored["values"], stored["parameters"], whole=False, curve=stored["curve"])
