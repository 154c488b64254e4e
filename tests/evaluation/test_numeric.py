"""Evaluation against the exact predictor: a perfect model has no excess, a uniform one all of it."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from torch import nn

from picollm.core.tokens import open_tokens
from picollm.evaluation.numeric import evaluate, summaries, tables
from picollm.tasks import numeric
from picollm.tasks._rows import term_weights
from picollm.tasks.numeric.floors import expected
from picollm.tasks.numeric.predictor import sequence_losses
from picollm.tasks.numeric.spec import specification

SIZES = {"train": 30, "validation": 20, "test": 40, "long": 8, "train_lengths": [4, 10], "long_lengths": [10, 14]}


class Exact(nn.Module):
    """The Bayes mixture in the shape of a model: every possible next term is tried after every prefix."""

    def __init__(self, spec, prior="train"):
        super().__init__()
        self.spec, self.prior = spec, prior

    def forward(self, ids):
        B, T = ids.shape
        logits = torch.full((B, T, 128), -1e4)
        tried = np.tile(np.arange(127), B)[:, None]
        for t in range(T):
            prefixes = np.repeat(ids[:, : t + 1].numpy(), 127, axis=0)
            values = np.concatenate([prefixes, tried], 1)
            losses = sequence_losses(self.spec, values, np.full(len(values), t + 2), self.prior)[:, -1]
            logits[:, t, :127] = torch.from_numpy(np.where(np.isfinite(losses), -losses, -1e4).reshape(B, 127)).float()
        return logits


class Uniform(nn.Module):
    """Knows nothing but that the pad never comes; notes the shapes it is given."""

    def __init__(self, max_length=None):
        super().__init__()
        self.max_length = max_length
        self.shapes = []

    def forward(self, ids):
        self.shapes.append(tuple(ids.shape))
        logits = torch.zeros(*ids.shape, 128)
        logits[..., 127] = -1e4
        return logits


@pytest.fixture(scope="module", params=["classic", "modular"])
def task(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = numeric.Config(kind="numeric", spec=request.param, heldout=10 if request.param == "modular" else 0, **SIZES)
    numeric.generate(config, folder / "raw")
    numeric.tokenize(config, folder / "raw", folder / "tokens")
    return specification(config.spec, config.holdout, 14), open_tokens(folder / "tokens"), folder / "raw"


def test_the_exact_predictor_has_no_excess(task):
    spec, tokens, raw = task
    result = evaluate(Exact(spec), tokens, raw, splits=["train", "test", "length14"])
    entries = [result["train"], result["test"], result["lengths"]["14"]]
    if spec.name == "modular":
        entries.append(evaluate(Exact(spec, "full"), tokens, raw, splits=["heldout"])["heldout"])
    for entry in entries:
        for part in (entry, *entry["families"].values()):
            assert part["excess"] == pytest.approx(0, abs=1e-5)
            assert part["loss"] == pytest.approx(part["floor"], abs=1e-5)
        assert entry["identified_accuracy"] > 0.97
    walk = result["test"]["families"]["walk"]
    assert walk["entropy"] == pytest.approx(walk["bayes_entropy"], abs=1e-5)
    for row in result["positions"]:
        assert row["excess"] == pytest.approx(0, abs=1e-5)


def test_a_uniform_model_loses_log_127_on_every_term(task):
    _, tokens, raw = task
    test = evaluate(Uniform(), tokens, raw, splits=["test"])["test"]
    assert test["loss"] == pytest.approx(np.log(127), abs=1e-5)
    assert test["excess"] == pytest.approx(np.log(127) - test["floor"], abs=1e-5)
    walk = test["families"]["walk"]
    assert walk["entropy"] == pytest.approx(np.log(127), abs=1e-4)
    assert np.log(2) < walk["bayes_entropy"] <= np.log(4) + 1e-9


def test_the_paired_floor_is_near_the_expected_one(task):
    spec, tokens, raw = task
    result = evaluate(Uniform(), tokens, raw, splits=["train", "validation", "test"])
    paired = np.mean([result[split]["floor"] for split in ("train", "validation", "test")])
    assert paired == pytest.approx(expected(spec).average(term_weights(4, 10))["loss"], abs=0.25)


def test_means_weigh_every_scored_term_alike_whatever_the_batch_size(task):
    _, tokens, raw = task

    class Last(nn.Module):  # bets on the last term with a confidence that depends on the position
        def forward(self, ids):
            logits = torch.zeros(*ids.shape, 128)
            return logits.scatter(-1, ids[..., None], torch.arange(1.0, ids.shape[1] + 1)[None, :, None].expand(len(ids), -1, 1))

    small, large = (evaluate(Last(), tokens, raw, batch_size=size) for size in (3, 256))
    assert small == large
    ids = tokens.split("test").astype(np.int64)
    x = torch.from_numpy(ids)
    losses = nn.functional.cross_entropy(Last()(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), ignore_index=127)
    assert large["test"]["loss"] == pytest.approx(float(losses), abs=1e-5)
    guessed = (ids[:, :-1] == ids[:, 1:])[ids[:, 1:] != 127].mean()
    assert large["test"]["accuracy"] == pytest.approx(guessed)


def test_distinct_rows_of_one_length_run_together_and_padding_is_cut(task):
    _, tokens, raw = task
    model = Uniform()
    evaluate(model, tokens, raw, batch_size=5, splits=["test"])
    lengths = np.sort((np.unique(tokens.split("test"), axis=0) != 127).sum(1))
    batch = model.shapes[0][0]
    assert [shape[1] for shape in model.shapes] == [lengths[min(i + batch, len(lengths)) - 1] - 1 for i in range(0, len(lengths), batch)]


def test_lengths_beyond_a_table_of_positions_are_skipped_with_the_reason(task):
    _, tokens, raw = task
    result = evaluate(Uniform(max_length=10), tokens, raw)
    assert "loss" in result["lengths"]["10"]
    assert result["lengths"]["14"] == {"skipped": "rows of 14 terms; the model takes at most 10"}
    summary = summaries({0: result})
    assert "excess_10" in summary
    assert "excess_14" not in summary
    assert {row["length"] for row in tables({0: result})["length"]} == {10}
    assert "loss" in evaluate(Uniform(max_length=9), tokens, raw)["test"]  # of ten terms the last is never read
    assert {row["position"] for row in result["positions"] if row["split"] == "length10"} == set(range(1, 10))


def test_families_that_a_small_split_lacks_are_left_out(tmp_path):
    config = numeric.Config(kind="numeric", spec="classic", train=1, validation=1, test=1, long=1, train_lengths=[2, 2], long_lengths=[])
    numeric.generate(config, tmp_path / "raw")
    numeric.tokenize(config, tmp_path / "raw", tmp_path / "tokens")
    result = evaluate(Uniform(), open_tokens(tmp_path / "tokens"), tmp_path / "raw")
    assert len(result["test"]["families"]) == 1
    json.dumps(result, allow_nan=False)
    assert "accuracy_identified" not in summaries({0: result})


def test_calibration_error_is_the_gap_between_confidence_and_hits(task):
    spec, tokens, raw = task

    class Sure(Exact):
        def forward(self, ids):
            logits = super().forward(ids)
            return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 100.0)

    sure, exact = (evaluate(model(spec), tokens, raw, splits=["train"])["train"]["families"]["walk"] for model in (Sure, Exact))
    assert exact["calibration_error"] < 0.2 < 0.4 < sure["calibration_error"]


def test_the_first_wrong_prediction_of_a_sequence_that_is_known_is_told_by_family(task):
    """Of a model that is right up to the 6th term and then says 0."""
    spec, tokens, raw = task

    class Fading(Exact):
        def forward(self, ids):
            logits = super().forward(ids)
            logits[:, 5:] = torch.nn.functional.one_hot(torch.tensor(0), 128) * 100.0
            return logits

    kept, result = (evaluate(model(spec), tokens, raw, splits=["length14"])["lengths"]["14"] for model in (Exact, Fading))
    assert "first_error" not in result["families"]["walk"]
    for name, part in result["families"].items():
        if name != "walk":
            assert kept["families"][name]["first_error"]["never"] > 0.6
            assert part["first_error"]["never"] < 0.5
            assert 4 <= part["first_error"]["median"] <= 8  # rarely one of the terms that follow is 0
    assert kept["first_error"]["never"] > 0.85
    assert 5 <= result["first_error"]["mean"] <= 8


def test_summary_and_tables_over_seeds(task):
    spec, tokens, raw = task
    seeds = {0: evaluate(Uniform(), tokens, raw)}
    if spec.name == "classic":
        seeds[1] = evaluate(Exact(spec), tokens, raw)
    summary = summaries(seeds)
    names = {f"{split}_{key}" for split in ("train", "validation", "test") for key in ("loss", "accuracy")}
    names |= {"floor", "excess"}
    more = ("worst_excess", "accuracy_identified", "never_wrong_identified", "walk_entropy", "walk_bayes_entropy", "walk_calibration_error")
    names |= {*more, *(f"{name}_{length}" for name in ("excess", "accuracy", *more) for length in (10, 14))}
    if spec.name == "modular":
        names |= {f"heldout_{family}_accuracy" for family in ("arithmetic", "geometric", "alternating")}
    assert set(summary) == names
    assert summary["excess"]["n"] == len(seeds)
    assert summary["excess"]["mean"] == pytest.approx(np.mean([result["test"]["excess"] for result in seeds.values()]))

    positions, lengths = tables(seeds)["positions"], tables(seeds)["length"]
    assert list(positions[0]) == ["seed", "split", "family", "position", "loss", "floor", "excess", "accuracy"]
    assert list(lengths[0]) == ["seed", "length", "family", "loss", "floor", "excess", "accuracy"]
    csv.DictWriter(io.StringIO(), list(positions[0])).writerows(positions)
    assert {row["split"] for row in positions} == {"train", "validation", "test", "length14"} | ({"heldout"} if spec.name == "modular" else set())
    row = next(row for row in lengths if (row["seed"], row["length"], row["family"]) == (0, 14, "all"))
    assert row["excess"] == seeds[0]["lengths"]["14"]["excess"]
