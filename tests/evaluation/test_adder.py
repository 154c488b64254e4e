"""Asking an adder from its checkpoint alone: answers, their confidence, warnings, the manifest of a proof, and what cannot be added."""

import hashlib
import json
import sys
from contextlib import suppress
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from picollm import cli, models
from picollm.core.errors import UserError
from picollm.evaluation._addition import adder, manifest
from picollm.tasks import addition
from picollm.tasks.addition.bases import value_of
from picollm.tasks.addition.rows import written
from picollm.training import checkpoints, optimizers
from picollm.training.batches import from_rows
from picollm.training.recipe import Recipe

TASK = {"carry_steps": 100, "kind": "addition", "base": 3, "digits": [1, 2], "train": 5, "validation": 5, "test": 5, "long": 5, "heldout": 0.01}
MODEL = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 32, "positions": "learned", "position_ids": "block", "block_size": 6, "column_window": 1}


def save(folder, steps, **options):
    """The checkpoint of an adder of two digits of base 3, trained here."""
    task = addition.Config(**{**TASK, **options})
    torch.manual_seed(0)
    model = models.build(MODEL, task.vocab_size, "model")
    optimizer, batches = optimizers.build(model, Recipe(steps=steps, optimizer="muon", lr=0.01)), addition.stream(task, 0, 64)
    for step in range(steps):
        ids, targets = batches(step)
        batch = from_rows(ids, task.pad, targets)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        optimizer.zero_grad()
        model.loss(batch.inputs, batch.targets).backward()
        optimizer.step()
    tokenizer = {"kind": "integers", "pad": task.pad, "addition": {**TASK, **options}}
    checkpoints.save_model(folder, model, {"model": MODEL, "tokenizer": tokenizer, "fingerprint": "f" * 16, "targets": True, "whole": False})
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("good"), 500)


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    return save(tmp_path_factory.mktemp("poor"), 10)


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["picollm", *map(str, words)])
    with suppress(SystemExit):  # with which a command ends that went well; another is a UserError
        cli.main()


def test_it_answers_like_a_calculator_and_shows_its_tokens(good, monkeypatch, capsys):
    run(monkeypatch, "add", good, 7, 5)  # 21 and 12 in base 3, 110 together
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "7 + 5 = 12"
    assert said[1] == "12 in base 10, 110 in base 3"
    assert said[2] == "tokens +12+21+011+"
    assert 0.5 < float(said[3].split()[1].rstrip(",")) <= 1
    run(monkeypatch, "add", good, "21", "12", "--base", 3)
    assert capsys.readouterr().out.splitlines()[0] == "21 + 12 = 110"


class Oracle:
    """Says the right token `ahead` of each, by the task's own rows."""

    def __init__(self, task):
        self.task = task

    def logits(self, ids):
        row = ids[0].tolist()
        cuts = [i for i, token in enumerate(row) if token == self.task.delimiter]
        step = 1 if self.task.order == "reversed" else -1
        numbers = [row[a + 1 : b][::step] for a, b in pairwise(cuts[: self.task.operands + 1])]
        width = max(map(len, numbers))
        digits = np.array([[number + [0] * (width - len(number)) for number in numbers]], np.int8)
        whole = written(self.task, digits, np.array([[len(number) for number in numbers]]))[0][0].tolist()
        assert whole[: len(row)] == row
        ahead = self.task.ahead(width)
        following = [whole[i + ahead] if i + ahead < len(whole) else self.task.pad for i in range(len(row))]
        return torch.nn.functional.one_hot(torch.tensor([following]), self.task.vocab_size).float() * 50


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, {4}),
        ({"tokens_per_pass": 2}, {2}),
        ({"tokens_per_pass": 3}, {2}),
        ({"tokens_per_pass": "all"}, {1}),
        ({"order": "plain"}, {4}),
        ({"padding": "none", "tokens_per_pass": 2}, {1, 2}),
        ({"padding": "longest"}, {3, 4}),
    ],
)
def test_every_way_of_writing_is_read_back_in_as_few_passes_as_it_allows(options, passes):
    task = addition.Config(**{**TASK, **options})
    seen = set()
    for a, b in product(range(9), repeat=2):
        answer = adder.answer(Oracle(task), task, adder.operands(task, [str(a), str(b)], 10))
        assert value_of(answer.digits, 3) == a + b
        assert answer.right
        assert answer.confidence > 0.99
        seen.add(answer.passes)
    assert seen == passes


def test_a_wrong_answer_is_called_wrong(poor, monkeypatch, capsys):
    model, task = adder.load(poor)
    wrong = next((a, b) for a in range(9) for b in range(9) if not adder.answer(model, task, adder.operands(task, [str(a), str(b)], 10)).right)
    run(monkeypatch, "add", poor, *wrong)
    assert capsys.readouterr().out.splitlines()[0].endswith("(wrong)")


def test_longer_operands_are_added_with_a_warning_and_the_measured_accuracy(good, monkeypatch, capsys):
    run(monkeypatch, "add", good, 26, 1)
    said = capsys.readouterr()
    assert said.err.startswith("warning: trained on at most 2 digits of base 3; ")
    assert "of 200 random sums of that length are right" in said.err
    with pytest.raises(UserError, match="block_size: the table of learned positions ends at 6"):
        run(monkeypatch, "add", good, 3**8, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-5", "3"], "-5: is negative"),
        (["5x", "3"], "'x' is no digit of base 10"),
        ([], "the sum is empty; give 2 numbers"),
        (["1", "2", "3"], "3 numbers, but the model was trained to add 2"),
        (["1", "1", "--base", "1"], "base: 1 is none"),
        (["12", "3", "--base", "3"], "'3' is no digit of base 3"),
    ],
)
def test_what_cannot_be_added_is_said_in_one_line(good, monkeypatch, words, message):
    with pytest.raises(UserError, match=message):
        run(monkeypatch, "add", good, *words)


def test_a_model_of_another_task_does_not_add(tmp_path, good):
    facts = json.loads((good / "config.json").read_text())
    del facts["tokenizer"]["addition"]
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="was not trained to add"):
        adder.load(tmp_path)


def test_a_manifest_tells_the_proof_and_what_it_depends_on(good, poor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = manifest.verify(good)
    assert (one["kind"], one["pairs"], one["failures"], one["holds"], one["cases"]) == ("certificate", 81, 0, 1.0, 36)
    every = manifest.verify(good, "exhaustive")
    assert (every["kind"], every["cases"]) == ("exhaustive", 81)
    assert every["margin"] == pytest.approx(one["margin"], abs=1e-4)
    assert {len(one[name]) for name in ("code", "configuration", "data", "checkpoint")} == {64}
    assert one["checkpoint"] == every["checkpoint"] != manifest.verify(poor)["checkpoint"]
    assert manifest.verify(poor, "strata")["failures"] > 0
    run(monkeypatch, "verify", good, "--processes", 1)
    assert "failures       0" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"the proof does not hold: \d+ failures such as \d+ \+ \d+"):
        run(monkeypatch, "verify", poor, "--processes", 1, "--failures", "failures.csv")
    lines = (tmp_path / "failures.csv").read_text().splitlines()
    assert lines[0] == "a,b,said"
    assert all(int(a) + int(b) != int(said) for a, b, said in (line.split(",") for line in lines[1:]))
    assert len(lines) > 2


def test_the_manifest_is_printed_whole_and_its_hashes_are_those_of_what_they_name(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "verify", good, "--processes", 1)
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    names = {"kind", "cases", "pairs", "failures", "margin", "rounding", "holds", "parameters", "torch", "seconds"}
    hashes = {"code", "configuration", "data", "checkpoint"}
    assert set(printed) == names | hashes | {"training"}
    assert (printed["cases"], printed["pairs"], printed["failures"], printed["holds"]) == ("36", "81", "0", "1.0")
    assert float(printed["seconds"]) >= 0
    assert printed["training"] == "f" * 16
    assert printed["checkpoint"] == hashlib.sha256((good / "model.safetensors").read_bytes()).hexdigest()
    again = {name: str(value) for name, value in manifest.verify(good, "exhaustive").items()}
    assert {name for name in hashes if again[name] != printed[name]} == {"data"}  # other cases were gone through, all else is the same
    facts = json.loads((good / "config.json").read_text())
    facts["tokenizer"]["addition"]["heldout"] = 0.02
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps(facts))
    (tmp_path / "other" / "model.safetensors").write_bytes((good / "model.safetensors").read_bytes())
    other = manifest.verify(tmp_path / "other")
    assert {name for name in hashes if other[name] != printed[name]} == {"configuration"}


def test_a_plain_file_is_written_from_settings(tmp_path, monkeypatch):
    (tmp_path / "settings.yaml").write_text("sequences: 7\nhigh: 50\n")
    run(monkeypatch, "numbers", tmp_path / "settings.yaml", tmp_path / "sums.txt")
    assert len((tmp_path / "sums.txt").read_text().splitlines()) == 7
    (tmp_path / "settings.yaml").write_text("sequencs: 7\n")
    with pytest.raises(UserError, match=r"sequencs: unknown parameter .did you mean 'sequences'"):
        run(monkeypatch, "numbers", tmp_path / "settings.yaml", tmp_path / "sums.txt")
