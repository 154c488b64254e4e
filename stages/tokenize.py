"""tokenize@TASK: raw data to memory-mapped token files."""

from pathlib import Path

from picollm.core.files import write_record
from picollm.study import Study


def main(study: Study, name: str) -> None:
    task, config = study.task(name)
    metrics = task.tokenize(config, Path("data/raw") / name, Path("data/tokens") / name)
    write_record(Path(f"metrics/tokenize/{name}.json"), metrics)
