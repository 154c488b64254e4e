"""`info`: what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from picollm.commands._options import complete
from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_json, read_record
from picollm.loaded.folders import home_of, models_of, runs

NAME, WIDTH = 23, 80  # columns of a run's name, and of a line
FIRST = ("excess", "excess_bits_per_byte", "bits_per_byte")  # what runs are judged by


def info(run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="one run in detail; without it, all", autocompletion=complete)] = None) -> None:
    """What was measured, and where the report, the metrics and the UI are.

    Example: python -m picollm info classic_linear
    """
    print(overview() if run is None else _details(run))


def overview() -> str:
    compared = Path("metrics/compare.json")
    lines = []
    if compared.exists():
        lines += [_line(run, metrics) for run, metrics in read_json(compared).items() if run != "claims"]
    else:
        lines.append("nothing has been compared yet: make study")
    return "\n".join([*lines, "", "report   plots/report.html", "metrics  metrics/compare.json", "times    plots/timing.html", "runs     make ui"])


def _line(run: str, metrics: dict[str, float]) -> str:
    """As many metrics as fit, the first of them what the run is judged by."""
    line = f"{run:<{NAME}}"
    for name in sorted(metrics, key=lambda name: name not in FIRST):
        more = f"{line}{'' if line.endswith(' ') else '  '}{name} {metrics[name]:.4g}"
        line = more if len(more) <= WIDTH else line
    return line


def _details(run: str) -> str:
    if run not in runs():
        raise UserError(f"{run}: no such run {did_you_mean(run, runs())}")
    lines = [run]
    for title, path in (("training", Path(f"metrics/train/{run}.json")), ("evaluation", Path(f"metrics/evaluate/{run}.json"))):
        if not path.exists():
            lines.append(f"  {title}: not yet; run `dvc repro {'train' if title == 'training' else 'evaluate'}@{run}`")
            continue
        result = read_record(path)
        if title == "training":
            lines.append(f"  task {result['task']}, budget {result['budget']}, {result['parameters']:,} parameters, {result['steps']} steps")
        for name, value in result["summary"].items():
            interval = f"  [{value['low']:.4g}, {value['high']:.4g}]" if "low" in value else ""
            lines.append(f"  {name:<32} {value['mean']:.4g}{interval}  n={value['n']}")
    return "\n".join([*lines, *(f"  model {home_of(run) / model}" for model in models_of(run))])
