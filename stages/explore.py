"""explore@PAIR: the insides of two models side by side, as a page."""

from pathlib import Path

from picollm.analysis._options import Options
from picollm.analysis._result import Skip, Subject
from picollm.core import devices
from picollm.core.config import parse
from picollm.core.files import write_record, write_text
from picollm.core.tokens import open_tokens
from picollm.explorer import roles
from picollm.explorer.build import html
from picollm.explorer.collect import Side, collect
from picollm.explorer.likeness import likeness
from picollm.study import Study
from picollm.training.checkpoints import load_model


def main(study: Study, name: str) -> None:
    pair = study.pair(name)
    device = devices.prepare(study.device, threads=1)  # sequences are short and models tiny: a second thread mostly waits for the first
    options = parse(Options, study.params["interpret"], "interpret")
    sides = []
    for checkpoint in (pair.left, pair.right):
        run, folder = checkpoint.partition("/")[0], Path("data/checkpoints") / checkpoint
        task = study.run(run).task
        subject = Subject(load_model(folder).to(device), open_tokens(Path("data/tokens") / task), Path("data/raw") / task, options, folder)
        sides.append(Side(checkpoint, subject, roles.read(Path("plots/interpret") / run, folder)))
    alike = likeness(*(side.subject for side in sides))
    write_record(Path(f"metrics/explore/{name}.json"), {"skipped": alike.reason} if isinstance(alike, Skip) else {"cka": alike})
    write_text(Path(f"plots/explore/{name}.html"), html(collect(name, sides, alike)))
