"""A run's configuration beside its results, and the same as data for whoever compares two runs in the page."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from picollm.report import rendering
from picollm.report.collect import Run, Task, differences, flat
from picollm.report.writing import judged_by, metric, plain, title


@dataclass(frozen=True)
class Card:
    run: Run
    own: list[tuple[str, str]]  # parameters that differ from those of the other runs of the task
    shared: list[tuple[str, str]]
    results: list[tuple[str, str]]  # the headline metrics
    more: list[tuple[str, str]]
    command: str
    hashes: list[tuple[str, str]]


def cards(task: Task) -> list[Card]:
    apart = differences([run.config for run in task.runs])
    return [_card(run, task.kind, apart) for run in task.runs]


def data(found: Iterable[Card]) -> str:
    """{run: [[parameters], [results]]}, each a list of [name, value], for the page's script."""
    runs = {card.run.name: [sorted(card.own + card.shared), card.results + card.more] for card in found}
    return rendering.data(runs)


def _card(run: Run, kind: str, apart: set[str]) -> Card:
    config = [(name, plain(value)) for name, value in flat(run.config).items()]
    facts = [(name, f"{run.train[name]:,}") for name in ("parameters", "steps", "tokens") if run.train.get(name)]
    measured = {name: metric(run.summary, name) for name in sorted(run.summary)}
    first = [name for name in judged_by(kind) if name in measured]
    marks: dict[str, list[str]] = {}
    for seed, value in run.train.get("fingerprints", {}).items():
        marks.setdefault(plain(value), []).append(seed)
    return Card(
        run=run,
        own=[item for item in config if item[0] in apart],
        shared=[item for item in config if item[0] not in apart],
        results=[(title(name), measured[name]) for name in first],
        more=[*facts, *((title(name), measured[name]) for name in measured if name not in first)],
        command=shlex.join(["dvc", "repro", f"train@{run.name}", f"evaluate@{run.name}"]),
        hashes=[(f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}", mark) for mark, seeds in marks.items()],
    )
