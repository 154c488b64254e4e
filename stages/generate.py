"""generate@TASK: the task's raw data and its floors."""

from pathlib import Path

from picollm.core.files import write_record
from picollm.study import Study


def main(study: Study, name: str) -> None:
    task, config = study.task(name)
    metrics = task.generate(config, Path("data/raw") / name)
    write_record(Path(f"metrics/generate/{name}.json"), metrics)
