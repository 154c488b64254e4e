"""interpret@RUN: what the run's first model does inside, measured by every analysis that applies to it."""

from pathlib import Path
from typing import Any

from picollm import tracking
from picollm.analysis._options import Options
from picollm.analysis._result import Subject
from picollm.analysis._runner import run_all, text_report
from picollm.core import devices, registry
from picollm.core.config import parse
from picollm.core.files import write_record, write_text
from picollm.core.parallel import share
from picollm.core.tokens import open_tokens
from picollm.study import Study
from picollm.training.checkpoints import load_model, read_config, seeds_of


def main(study: Study, name: str) -> None:
    task = study.run(name).task
    device = devices.prepare(study.device, threads=1)  # sequences are short and models tiny: a second thread mostly waits for the first
    options = parse(Options, study.params["interpret"], "interpret")
    plots = Path("plots/interpret") / name
    plots.mkdir(parents=True, exist_ok=True)
    seeds = seeds_of(Path("data/checkpoints") / name)
    report: dict[str, Any] = {}
    if seeds:
        folder = seeds.pop(min(seeds))
        model, tokens = load_model(folder).to(device), open_tokens(Path("data/tokens") / task)
        subject = Subject(model, tokens, Path("data/raw") / task, options, folder, tuple(seeds.values()))
        processes, _ = share(study.threads, len(registry.names("analysis")), device.type)
        report = run_all(subject, plots, tracking.root() / ".resume" / "interpret" / name, processes)
        write_text(plots / "report.md", text_report(name, report))
    write_record(Path(f"metrics/interpret/{name}.json"), report)
    if report:
        tracking.child(name, task, "interpret", read_config(folder)["fingerprint"], {}, plots)
