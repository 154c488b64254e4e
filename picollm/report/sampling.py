"""What language models wrote under every setting, and what many such texts measure, as tables."""

from typing import Any

from picollm.report.collect import Run, Task
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, estimate, plain

CORPUS = "corpus"  # the row that says what the corpus's own texts measure
PERCENT = ("distinct_1", "distinct_2", "distinct_3", "repetition", "different", "copied_4", "copied_8", "copied_16", "accepted", "read")
SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)  # epochs; and the last
NAMES = {
    "tokens": "tokens a text",
    "log_probability": "log-probability a token, nats",
    "distinct_1": "distinct 1-grams, %",
    "distinct_2": "distinct 2-grams, %",
    "distinct_3": "distinct 3-grams, %",
    "repetition": "repeated 4-grams, %",
    "self_bleu": "self-BLEU",
    "different": "different texts, %",
    "longest_copy": "longest copy, tokens",
    "longest_copy_of_all": "longest copy of all",
    "copied_4": "copied 4-grams, %",
    "copied_8": "copied 8-grams, %",
    "copied_16": "copied 16-grams, %",
    "accepted": "stories, %",
    "grammar_bits_per_byte": "their bits per byte",
    "read": "of the others, read, %",
}


def samples(task: Task, settings: dict[str, Any]) -> list[Table]:
    """A table for every prompt, setting by run. settings: name -> what it stands for in params.yaml."""
    written = {(sample["prompt"], sample["setting"], run.name): sample["text"] for run in task.runs for sample in run.samples}
    runs = [run for run in task.runs if run.samples]
    tables = []
    for prompt in dict.fromkeys(prompt for prompt, _, _ in written):
        names = dict.fromkeys(name for own, name, _ in written if own == prompt)
        rows = [Row(_setting(name, settings), [written.get((prompt, name, run.name), NONE) for run in runs], kind="text") for name in names]
        tables.append(Table(f"After \u201c{prompt}\u201d, the model of the first seed.", ["setting", *(run.name for run in runs)], rows))
    return tables


def epochs(task: Task) -> list[Table]:
    """A table for every run that counts epochs, epoch by setting: how its texts grow."""
    return [_epochs(run) for run in task.runs if run.epochs]


def _epochs(run: Run) -> Table:
    last = max(row["epoch"] for row in run.epochs)
    shown = sorted({epoch for epoch in SHOWN if epoch < last} | {last})
    settings = list(dict.fromkeys(row["setting"] for row in run.epochs))
    texts = {(row["epoch"], row["setting"]): row["text"] for row in run.epochs}
    rows = [Row(f"epoch {epoch}", [texts.get((epoch, setting), NONE) for setting in settings], kind="text") for epoch in shown]
    return Table(f"{run.name} after \u201c{run.epochs[0]['prompt']}\u201d, from epoch to epoch, the first seed.", ["", *settings], rows)


def measured(task: Task) -> list[Table]:
    """A table for every run, setting by measure: mean over seeds \u00b1 half the 95 % interval, and the corpus's own texts beside it."""
    return [_measured(run) for run in task.runs if run.evaluation.get("samples")]


def _measured(run: Run) -> Table:
    found = run.evaluation["samples"]
    names = [name for name in NAMES if any(name in own for own in found.values())]
    order = [sample["setting"] for sample in run.samples]  # as in params.yaml; the corpus, which is none of them, comes last
    settings = sorted(found, key=lambda setting: order.index(setting) if setting in order else len(order))
    rows = [
        Row(setting, [estimate(found[setting].get(name), percent=name in PERCENT) for name in names], kind="floor" if setting == CORPUS else "cell")
        for setting in settings
    ]
    return Table(f"{run.name}: texts of every setting measured, and the corpus's own (docs/sampling.md).", ["setting", *(NAMES[name] for name in names)], rows)


def _setting(name: str, settings: dict[str, Any]) -> str:
    """With what it stands for, where its name does not say that already."""
    meaning = plain(settings[name]) if settings.get(name) else ""
    return f"{name} ({meaning})" if meaning and _letters(meaning) != _letters(name) else name


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
