"""From small input files to the page: the numbers are right, nothing leaks out or in, and what is missing is said."""

import base64
import csv
import hashlib
import html
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from picollm.core.errors import UserError
from picollm.core.files import write_json, write_text
from picollm.core.statistics import summary
from picollm.report import figures, page, sampling
from picollm.report.compare import compare
from picollm.report.writing import NONE

EXCESS = {"softmax": [0.001, 0.002, 0.003], "linear": [0.002, 0.004, 0.006]}
T2 = 4.302652729911275  # the 97.5 % quantile of Student's t with 2 degrees of freedom
FLOOR = 0.35


def parameters(**runs: dict[str, Any]) -> dict[str, Any]:
    def run(task: str, **model: Any) -> dict[str, Any]:
        return {"task": task, "seeds": 3, "training": {"steps": 20, "lr": 0.002}, "model": model}

    return {
        "budget": "study",
        "tasks": {"classic": {"kind": "numeric", "spec": "classic"}, "fables": {"kind": "text", "source": "fables"}},
        "runs": {
            "softmax": run("classic", kind="transformer", attention="softmax", d_model=64),
            "linear": run("classic", kind="transformer", attention="linear", d_model=64),
            "lstm": run("fables", kind="lstm", d_model=256),
            **runs,
        },
        "pairs": {"kinds": {"left": "softmax/seed0", "right": "linear/seed0"}, "later": {"left": "absent/seed0", "right": "linear/seed0"}},
        "samples": {"settings": {"greedy": {"temperature": 0}}},
        "sweeps": {"rates": {"base": "runs.linear", "task": "classic", "seeds": 1, "grid": {"training.lr": [0.001, 0.01]}}},
    }


def numeric(root: Path, name: str, excess: list[float]) -> None:
    """What the stages leave of a run on `classic`."""
    seeds = {str(seed): {"test": {"excess": value, "families": {"walk": {"excess": 2 * value}}}} for seed, value in enumerate(excess)}
    values = {
        "test_loss": [FLOOR + value for value in excess],
        "test_accuracy": [0.8] * len(excess),
        "floor": [FLOOR] * len(excess),
        "excess": excess,
        "excess_64": [10 * value for value in excess],
        "excess_512": [100 * value for value in excess],
    }
    trained(root, name, "classic", len(excess))
    evaluated(root, name, "classic", "numeric", seeds, values)
    rows = [
        {"seed": seed, "length": length, "family": "all", "loss": 0.3 + value, "floor": 0.3, "excess": value, "accuracy": 0.8}
        for seed, value in enumerate(excess)
        for length in (64, 512)
    ]
    table(root / f"plots/evaluate/{name}/length.csv", rows)
    places = [{"seed": 0, "split": split, "family": "all", "position": at, "floor": 0.3, "excess": 0.1} for split in ("test", "length512") for at in (1, 2)]
    table(root / f"plots/evaluate/{name}/positions.csv", places)
    estimate = {"value": 0.5, "n": 9, "untrained_low": 0.1, "untrained_high": 0.2}
    found = {"metrics": {"walk.first": estimate}, "claims": [f"What {name} does is 0.5.", "And more."], "files": ["maps.csv", "maps.png", "maps_more.png"]}
    write_json(root / f"metrics/interpret/{name}.json", {"maps": found})
    picture(root / f"plots/interpret/{name}/maps_more.png")
    picture(root / f"plots/interpret/{name}/maps.png")


def text(root: Path, name: str) -> None:
    values = {"test_loss": [2.0, 2.2], "bits_per_byte": [1.0, 1.1], "floor_bits_per_byte": [0.7, 0.7], "excess_bits_per_byte": [0.3, 0.4]}
    documents = [{"excess_bits_per_byte": value} for value in values["excess_bits_per_byte"]]
    lengths = {"256": {"skipped": "the model takes at most 128 tokens"}}
    seeds = {str(seed): {"test": {"packed": {}, "documents": documents[seed]}, "lengths": lengths} for seed in range(2)}
    trained(root, name, "fables", 2)
    evaluated(root, name, "fables", "text", seeds, values)
    rows = [{"seed": seed, "length": 128, "family": "all", "loss": 2 + seed, "floor": "", "excess": "", "accuracy": 0.5} for seed in range(2)]
    table(root / f"plots/evaluate/{name}/length.csv", rows)
    write_json(root / f"plots/evaluate/{name}/samples.json", [{"prompt": "Once", "setting": "greedy", "text": " <script>alert(1)</script>"}])
    write_json(root / f"metrics/interpret/{name}.json", {"maps": {"skipped": "lstm has no attention"}})


def trained(root: Path, name: str, task: str, seeds: int) -> None:
    losses = {str(seed): {"train_loss": 0.4, "validation_loss": 0.41} for seed in range(seeds)}
    means = {key: summary([loss[key] for loss in losses.values()]) for key in ("train_loss", "validation_loss")} if seeds else {}
    result = {"run": name, "task": task, "budget": "study", "parameters": 12345, "steps": 20, "tokens": 640, "seeds": losses, "summary": means}
    write_json(root / f"metrics/train/{name}.json", {**result, "fingerprints": dict.fromkeys(losses, "0a1b2c")})
    rows = [
        {
            "seed": seed,
            "step": step,
            "tokens": 32 * step,
            "train_loss": 4 / step,
            "validation_loss": 4 / step if step == 20 else "",
            "lr": 0.002,
            "grad_norm": 1,
        }
        for seed in range(seeds)
        for step in (10, 20)
    ]
    table(root / f"plots/train/{name}.csv", rows)


def evaluated(root: Path, name: str, task: str, kind: str, seeds: dict[str, Any], values: dict[str, list[float]]) -> None:
    means = {key: summary(value) for key, value in values.items()}
    write_json(root / f"metrics/evaluate/{name}.json", {"run": name, "task": task, "kind": kind, "budget": "study", "summary": means, "seeds": seeds})


def cell(label: str, variant: str | None, point: dict[str, Any], values: dict[str, list[float]], **more: Any) -> dict[str, Any]:
    """What the stage leaves of a cell of a sweep."""
    summaries = {key: summary(value) for key, value in values.items()}
    facts = {"parameters": 1000, "steps": 20, "tokens": 640, "fingerprint": "4d5e6f", "skipped": []}
    return {"label": label, "variant": variant, "point": point, "summary": summaries, "seeds": {}, **facts, **more}


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [list(rows[0]), *([row[key] for key in rows[0]] for row in rows)] if rows else []
    write_text(path, "".join(",".join(map(str, line)) + "\n" for line in lines))


def picture(path: Path) -> None:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    figures.save(figure, path, dpi=40)


def inputs(root: Path) -> Path:
    """Two numeric runs of three seeds, a text run with two of three, a sweep."""
    floor = {"loss": FLOOR, "accuracy": 0.83, "families": {"walk": {"loss": 1.4, "accuracy": 0.4}}}
    controls = {"uniform": {"loss": math.log(127), "accuracy": 1 / 127}, "bigram": {"loss": 1.167, "accuracy": 0.5}}
    lengths = {"64": {"loss": 0.31}, "512": {"loss": 0.29}}
    write_json(root / "metrics/generate/classic.json", {"floor": floor, "lengths": lengths, "controls": controls})
    write_json(root / "metrics/tokenize/classic.json", {"train": {"rows": 9, "row_length": 32, "tokens": 288}})
    counts = {"tokens": 50, "bytes": 100, "tokens_per_byte": 0.5, "floor_bits_per_token": 1.4}
    write_json(root / "metrics/generate/fables.json", {"source_sha256": "feedbeef"})
    write_json(root / "metrics/tokenize/fables.json", {"vocab_size": 512, "splits": dict.fromkeys(("train", "validation", "test"), counts)})
    for name, excess in EXCESS.items():
        numeric(root, name, excess)
    text(root, "lstm")
    cells = [cell(f"lr={lr}", None, {"training.lr": lr}, {"train_loss": [0.5], "validation_loss": [lr]}) for lr in (0.001, 0.01)]
    write_json(root / "metrics/sweep/rates.json", {"base": "runs.linear", "task": "classic", "kind": "numeric", "budget": "study", "cells": cells})
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The report of `inputs`, to be looked at and left alone: (root, page, Markdown)."""
    root = inputs(tmp_path_factory.mktemp("made"))
    return root, *report(root)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `inputs` to change, for tests that do not look at drawings."""
    monkeypatch.setattr(figures, "svg", lambda figure: "<svg></svg>")
    monkeypatch.setattr(figures, "save", lambda figure, path, dpi=0: write_text(path, "a picture"))
    return inputs(tmp_path)


def report(root: Path, params: dict[str, Any] | None = None) -> tuple[str, str]:
    compare(params or parameters(), root)
    return tuple((root / f"plots/report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))  # type: ignore[return-value]


def row(markdown: str, label: str, table: int = 0) -> list[str]:
    """The cells of the n-th table row with this label."""
    found = [line for line in markdown.splitlines() if line.startswith(f"| {label} ")]
    return [cell.strip() for cell in found[table].strip("|").split("|")]


class Checker(HTMLParser):
    """Every element is closed in order; keeps the addresses that the page would load or lead to."""

    VOID = ("meta", "img", "input", "br", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["script"]:
            self.text += data


def checked(source: str) -> Checker:
    checker = Checker()
    checker.feed(source)
    checker.close()
    assert checker.open == []
    return checker


def test_compare_json_holds_the_means_of_the_headline_metrics(made: tuple[Path, str, str]) -> None:
    root, _, _ = made
    found = json.loads((root / "metrics/compare.json").read_text())
    assert list(found) == ["linear", "lstm", "softmax"]
    assert found["softmax"]["excess"] == pytest.approx(0.002)
    assert found["softmax"]["excess_512"] == pytest.approx(0.2), "the longest length"
    assert "excess_64" not in found["softmax"], "short: only the longest length"
    assert set(found["softmax"]) == {"excess", "test_accuracy", "excess_512"}, "what it is judged by, what is right, and far beyond training"
    assert found["lstm"] == pytest.approx({"excess_bits_per_byte": 0.35})
    assert all(isinstance(value, float) for metrics in found.values() for value in metrics.values())


def test_the_share_of_heads_with_a_role_is_a_column(root: Path) -> None:
    write_json(root / "metrics/interpret/softmax.json", {"head_roles": {"metrics": {"labelled": {"value": 0.5}}}})
    compare(parameters(), root)
    found = json.loads((root / "metrics/compare.json").read_text())
    assert found["softmax"]["heads_labelled"] == 0.5
    assert "heads_labelled" not in found["linear"]


def test_tables_show_mean_interval_seeds_floor_and_controls(made: tuple[Path, str, str]) -> None:
    _, page_, markdown = made
    half = T2 * 0.001 / math.sqrt(3)  # the standard deviation of 1, 2, 3 thousandths is one thousandth
    assert f"{half:.2g}" == "0.0025"
    assert row(markdown, "softmax") == ["softmax", "0.002000 ± 0.0025", "0.3520 ± 0.0025", "0.4100 ± 0", "80.00 ± 0", "3", "12,345"]
    assert row(markdown, "linear")[1] == "0.004000 ± 0.0050"
    assert row(markdown, "exact floor, expected")[2:5] == ["0.3500", NONE, "83.00"]
    assert row(markdown, "exact floor, test set")[1:3] == ["0", "0.3500"]
    assert row(markdown, "bigram")[1:3] == ["0.8170", "1.167"]
    assert row(markdown, "uniform")[2] == "4.844"
    assert row(markdown, "lstm")[1:3] == ["0.3500 ± 0.64", "1.050 ± 0.64"], "two seeds: t is 12.7"
    assert row(markdown, "lstm")[-2] == "2 of 3", "a seed has no result"
    assert row(markdown, "exact floor") == ["exact floor", "0", "0.7000", "0.9704", "0.9704", *[NONE] * 4], "1.4 bits are 0.9704 nats"
    assert row(markdown, "uniform", 1)[2:5] == ["4.500", "6.238", "6.238"], "9 bits a token, half a token a byte"
    for cell in ("0.002000 ± 0.0025", "12,345", "4.844", "2 of 3", "83.00"):
        assert f"<td>{cell}</td>" in page_


def test_differences_are_paired_over_seeds(root: Path) -> None:
    """What the seeds have in common cancels: differences of 10, 11, 9 thousandths show up between intervals of a quarter."""
    _, markdown = report(root)
    assert row(markdown, "linear minus softmax") == ["linear minus softmax", "3", "0.002000 ± 0.0025", "no difference shown"]
    numeric(root, "softmax", [0.101, 0.202, 0.303])
    numeric(root, "linear", [0.111, 0.213, 0.312])
    _, markdown = report(root)
    assert row(markdown, "softmax")[1] == "0.2020 ± 0.25"
    assert row(markdown, "linear minus softmax")[2:] == ["0.01000 ± 0.0025", "higher"]


def test_longer_sequences_and_families_stand_beside_their_floor(made: tuple[Path, str, str]) -> None:
    _, _, markdown = made
    assert row(markdown, "exact floor, nats", 0) == ["exact floor, nats", "0.3100", "0.2900"]
    assert row(markdown, "exact floor, nats", 1) == ["exact floor, nats", "1.400"]
    assert "| run               | 64" in markdown
    assert "At length 512 (16 times the longest trained), softmax is 0.2000 ± 0.25 nats above the floor of that length, linear 0.4000 ± 0.50." in markdown


def test_text_is_shown_on_longer_windows_with_what_was_left_out(made: tuple[Path, str, str]) -> None:
    _, _, markdown = made
    assert row(markdown, "lstm", 1) == ["lstm", "2.500 ± 6.4"]
    assert "lstm: the model takes at most 128 tokens." in markdown


def test_text_without_a_floor_is_judged_by_its_bits(root: Path) -> None:
    path = root / "metrics/evaluate/lstm.json"
    result = json.loads(path.read_text())
    result["summary"] = {name: value for name, value in result["summary"].items() if "floor" not in name and "excess" not in name}
    write_json(path, result)
    _, markdown = report(root)
    assert "lstm ends 1.050 ± 0.64 bits per byte (no floor is known) (2 seeds)." in markdown


def test_test_losses_stand_beside_the_floor_of_the_documents_that_were_scored(root: Path) -> None:
    path = root / "metrics/evaluate/lstm.json"
    result = json.loads(path.read_text())
    result["summary"]["floor_loss"] = summary([0.9, 0.9])
    write_json(path, result)
    _, markdown = report(root)
    assert row(markdown, "exact floor")[3:5] == ["0.9000", "0.9704"], "test loss, validation loss"
    path = root / "metrics/tokenize/fables.json"
    tokenized = json.loads(path.read_text())
    del tokenized["splits"]["test"]
    write_json(path, tokenized)
    _, markdown = report(root)
    assert row(markdown, "exact floor")[3:5] == [NONE, "0.9704"], "scored on validation: no test loss to stand beside"


def test_answer_is_computed_from_the_numbers(made: tuple[Path, str, str]) -> None:
    _, page_, markdown = made
    sentence = "softmax ends 0.002000 ± 0.0025 nats above the exact floor of 0.3500 (3 seeds), linear 0.004000 ± 0.0050 (3 seeds)."
    assert sentence in markdown
    assert sentence in page_
    assert "lstm ends 0.3500 ± 0.64 bits per byte above the exact floor of 0.7000 (2 seeds)." in markdown
    assert page_.index(sentence) < page_.index("<table>")


def test_curves_of_all_runs_are_in_one_long_table(made: tuple[Path, str, str]) -> None:
    root, _, _ = made
    folder = root / "plots/compare"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{name}.{kind}" for name in ("classic_lengths", "classic_loss", "fables_lengths", "fables_loss") for kind in ("csv", "png")]
    with open(folder / "classic_loss.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2
    assert rows[0] == {"run": "softmax", "seed": "0", "step": "10", "train_loss": "0.4", "validation_loss": ""}


def test_same_bytes_again_and_elsewhere(made: tuple[Path, str, str], tmp_path: Path) -> None:
    def outputs(at: Path) -> dict[str, bytes]:
        paths = [
            at / "metrics/compare.json",
            at / "metrics/claims.json",
            at / "plots/report.html",
            at / "plots/report.md",
            *sorted((at / "plots/compare").iterdir()),
        ]
        return {str(path.relative_to(at)): path.read_bytes() for path in paths}

    root, _, _ = made
    elsewhere = tmp_path / "copy"
    shutil.copytree(root, elsewhere)
    write_text(elsewhere / "plots/compare/gone_loss.csv", "of a task that was removed\n")
    compare(parameters(), elsewhere)
    assert outputs(elsewhere) == outputs(root)
    assert str(root).encode() not in b"".join(outputs(root).values())


def test_page_is_well_formed_and_fetches_nothing(made: tuple[Path, str, str]) -> None:
    _, source, _ = made
    page_ = checked(source)
    assert not page_.tags & {"link", "iframe", "object", "base", "form"}
    inside = ("#", "data:image/png;base64,", "explore/kinds.html", "interpret/")
    assert all(address.startswith(inside) for address in page_.addresses), "pages beside this one, which are there once it is"
    assert source.count("<script") == source.count("</script>") == 2, "its data and its own script, nothing from elsewhere"
    assert "http://" not in source
    assert "https://" not in source
    script = source.rpartition("<script>")[2].partition("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{allowed}'" in html.unescape(source)
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_page_shows_configurations_commands_samples_pictures_sweeps_and_hashes(made: tuple[Path, str, str]) -> None:
    _, source, _ = made
    words = checked(source).text
    assert '<span class="own">model.attention</span>' in source, "differs between the runs of the task"
    assert '<span class="own">model.d_model</span>' not in source, "is the same"
    assert "dvc repro train@softmax evaluate@softmax" in words
    assert "model.attention: linear" in words
    assert 'alt="maps of softmax"' in source
    assert 'href="interpret/softmax/maps_more.png">maps more<' in source, "one picture an analysis; the others are a click away"
    assert "What softmax does is 0.5." in words
    assert "And more." not in words, "that is in the run's own report"
    assert 'href="explore/kinds.html">softmax/seed0 and linear/seed0<' in source
    assert "explore/later.html" not in source
    assert 'href="interpret/linear/report.md"' in source
    assert "0.5000 [0.1000, 0.2000]" in words
    assert "maps: lstm has no attention" in words
    assert "greedy (temperature 0)" in words
    for title in ("training loss", "validation loss", "longer sequences", "excess by position"):
        assert f"<figcaption>{title}</figcaption>" in source
    assert " <script>alert(1)</script>" in words, "a sample is text"
    assert words.index("rates") < words.rindex("Fingerprints")
    assert "feedbeef" in words
    assert "seeds 0, 1, 2" in words
    assert "0a1b2c" in words


def test_samples_and_their_measures_stand_setting_by_setting(root: Path) -> None:
    settings = ("greedy", "top-p 0.2", "top-p 1.0")
    written = [{"prompt": prompt, "setting": name, "text": f" {prompt}|{name}"} for prompt in ("Once", "0 1") for name in settings]
    write_json(root / "plots/evaluate/lstm/samples.json", written)
    path = root / "metrics/evaluate/lstm.json"
    measured = {name: {"distinct_2": summary([0.1, 0.3]), "self_bleu": summary([0.5, 0.5])} for name in ("corpus", *reversed(settings))}
    measured["greedy"]["accepted"] = summary([1.0, 0.5])
    write_json(path, {**json.loads(path.read_text()), "samples": measured})
    source, markdown = report(root)
    assert "After \u201cOnce\u201d" in source
    assert row(markdown, "top-p 1.0")[1] == "Once\\", "the bar is escaped"
    assert row(markdown, "greedy (temperature 0)", 1)[1].startswith("0 1")
    assert row(markdown, "greedy", 2)[-3:] == ["20.00 ± 127", "0.5000 ± 0", "75.00 ± 318"]
    assert row(markdown, "corpus")[-3:] == ["20.00 ± 127", "0.5000 ± 0", NONE]
    order = [markdown.index(f"| {name} ", markdown.index("lstm: texts")) for name in (*settings, "corpus")]
    assert order == sorted(order), "as in params.yaml, the corpus last"
    checked(source)


def test_texts_from_epoch_to_epoch(root: Path) -> None:
    written = [{"epoch": epoch, "prompt": "Once", "setting": name, "text": f"{name} {epoch}"} for epoch in range(1, 31) for name in ("greedy", "top-p 1.0")]
    write_json(root / "plots/evaluate/lstm/epochs.json", written)
    _, markdown = report(root)
    assert row(markdown, "epoch 20") == ["epoch 20", "greedy 20", "top-p 1.0 20"]
    shown = [line for line in markdown.splitlines() if line.startswith("| epoch ")]
    assert [int(line.split()[2]) for line in shown] == [1, 2, 3, 5, 10, 20, 30]


def test_a_mixture_is_told_source_by_source(root: Path) -> None:
    path = root / "metrics/tokenize/fables.json"
    write_json(path, {**json.loads(path.read_text()), "sources": {"tales": {"weight": 0.75}, "notes": {"weight": 0.25}}})
    path = root / "metrics/train/lstm.json"
    write_json(path, {**json.loads(path.read_text()), "sources": {"0": {"tales": 0.7, "notes": 0.3}, "1": {"tales": 0.7, "notes": 0.3}}})
    path = root / "metrics/evaluate/lstm.json"
    result = json.loads(path.read_text())
    for name, value in (("test_loss_tales", 1.5), ("test_loss_notes", 2.5), ("bits_per_byte_notes", 3.5)):
        result["summary"][name] = summary([value, value])
    write_json(path, result)
    _, markdown = report(root)
    assert row(markdown, "lstm, tales") == ["lstm, tales", "75.00", "70.00 ± 0", "1.500 ± 0", NONE]
    assert row(markdown, "lstm, notes") == ["lstm, notes", "25.00", "30.00 ± 0", "2.500 ± 0", "3.500 ± 0"]


def test_how_sure_models_are_stands_at_the_longest_length(root: Path) -> None:
    path = root / "metrics/evaluate/softmax.json"
    result = json.loads(path.read_text())
    result["summary"] |= {"worst_excess_64": summary([1.0]), "worst_excess_512": summary([2.0]), "walk_calibration_error_512": summary([0.25])}
    write_json(path, result)
    _, markdown = report(root)
    assert "At length 512:" in markdown
    lines = markdown.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("At length 512:"))
    assert row("\n".join(lines[start:]), "run")[1:] == ["excess at the worst position", "walk calibration error"]
    assert row("\n".join(lines[start:]), "softmax") == ["softmax", "2.000", "0.2500"]


def test_a_setting_is_explained_where_its_name_does_not() -> None:
    settings = {"greedy": {"temperature": 0}, "top-p 0.2": {"top_p": 0.2}, "plain": {}}
    assert [sampling._setting(name, settings) for name in settings] == ["greedy (temperature 0)", "top-p 0.2", "plain"]


def test_what_is_missing_is_said(root: Path) -> None:
    params = parameters()
    for name, seeds in (("absent", 3), ("zero", 0), ("empty", 3), ("unfinished", 3)):
        params["runs"][name] = {**params["runs"]["softmax"], "seeds": seeds}
    numeric(root, "zero", [9.0])  # of another budget
    trained(root, "empty", "classic", 0)
    trained(root, "unfinished", "classic", 2)
    params["sweeps"]["later"] = {"base": "runs.linear", "task": "classic", "seeds": 0, "grid": {"training.lr": [1]}}
    source, markdown = report(root, params)
    assert row(markdown, "absent")[1] == "not trained yet"
    assert row(markdown, "zero")[1] == "not part of budget study"
    assert row(markdown, "empty")[1] == "not part of budget study"
    assert row(markdown, "unfinished")[3:6] == ["0.4100 ± 0", NONE, "2 of 3"]
    assert "- run unfinished: trained, not evaluated" in markdown
    assert "- sweep later: not part of budget study" in markdown
    assert "not trained yet" in checked(source).text
    assert set(json.loads((root / "metrics/compare.json").read_text())) == {"softmax", "linear", "lstm", "unfinished"}


def test_results_of_another_budget_are_marked(root: Path) -> None:
    _, markdown = report(root, {**parameters(), "budget": "full"})
    assert "- run softmax: results of budget study, not of full" in markdown


def test_runs_that_params_do_not_name_do_not_count(root: Path) -> None:
    before = report(root)
    numeric(root, "removed", [0.0])
    assert report(root) == before


def test_nothing_at_all_is_still_a_page(tmp_path: Path) -> None:
    source, markdown = report(tmp_path, parameters())
    assert checked(source).text.count("No results in this budget.") == 1 + 2, "the answer, and both tasks"
    assert "- sweep rates: no results" in markdown
    assert json.loads((tmp_path / "metrics/compare.json").read_text()) == {}
    checked(report(tmp_path, {"budget": "smoke"})[0])


def test_odd_names_are_text_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = inputs(tmp_path)
    monkeypatch.setattr(figures, "save", lambda figure, path, dpi=0: None)
    name = "_x$y^<b>|&\"'"
    params = parameters(**{name: {**parameters()["runs"]["softmax"], "note": "</style><script>"}})
    numeric(root, name, [0.1, 0.2])
    source, markdown = report(root, params)
    page_ = checked(source)
    assert "b" not in page_.tags
    assert source.count("<script") == 2
    assert name in page_.text
    assert "</style><script>" in page_.text
    assert "| _x$y^&lt;b>\\|&amp;\"' " in markdown


def test_unknown_task_is_a_users_error(tmp_path: Path) -> None:
    params = parameters(other={"task": "clasic", "seeds": 1})
    with pytest.raises(UserError, match=r"^runs\.other\.task: unknown 'clasic' \(did you mean 'classic'\?"):
        compare(params, tmp_path)


def test_pictures_beyond_the_limit_are_linked_not_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LIMIT", 0)
    source, _ = report(root)
    assert "data:image" not in source
    assert 'href="interpret/softmax/maps.png">maps<' in source
