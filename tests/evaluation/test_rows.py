"""Evaluation of parity, recall and urn: a perfect model has no excess, a uniform one loses what its control says, and how both are told."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from torch import nn

from picollm.core import registry
from picollm.core.config import parse
from picollm.core.tokens import open_tokens
from picollm.evaluation._rows import Scores, calibration, first_error, worst_position
from picollm.evaluation.recall import distances
from picollm.tasks._rows import load
from picollm.tasks.urn.config import STEPS
from picollm.tasks.urn.predictor import probabilities

URN = 16  # values of its walk
COUNTS = {"train": 30, "validation": 20, "test": 60, "long": 12}
BASES = {
    "parity": {**COUNTS, "kind": "parity", "train_lengths": [2, 10], "long_lengths": [10, 30]},
    "recall": {**COUNTS, "kind": "recall", "keys": 9, "values": 12, "pairs": [2, 4], "length": 16, "long_lengths": [16, 30], "more_pairs": [4, 9]},
    "urn": {**COUNTS, "kind": "urn", "values": URN, "train_lengths": [2, 10], "long_lengths": [10, 30]},
}
SHARED = {f"{split}_{key}" for split in ("train", "validation", "test") for key in ("loss", "accuracy")} | {"floor", "excess"}


class Table(nn.Module):
    """A model whose logits a function of the ids gives; notes the widths it is given."""

    def __init__(self, logits, max_length=None):
        super().__init__()
        self.logits, self.max_length, self.widths = logits, max_length, []

    def forward(self, ids):
        self.widths.append(ids.shape[1])
        return self.logits(ids)


def certain(ids, vocab):
    """Logits that leave no doubt about these ids."""
    return torch.zeros(*ids.shape, vocab).scatter(-1, ids[..., None], 1e4)


def exact_parity(ids):
    return certain((ids == 1).cumsum(1) % 2, 3)


def exact_recall(ids):
    """What stands after the same key where it came first; elsewhere anything."""
    answers = torch.zeros_like(ids)
    for row, answer in zip(ids, answers, strict=True):
        for t in range(2, len(row)):
            first = int((row == row[t]).nonzero()[0])
            answer[t] = row[min(first + 1, len(row) - 1)]
    return certain(answers, 22)


def exact_urn(ids):
    values = ids.numpy()
    law = torch.from_numpy(probabilities(1.0, np.concatenate([values, values[:, -1:]], 1), URN)).float()
    return torch.full((*ids.shape, URN + 1), -1e4).scatter(-1, (ids[..., None] + torch.tensor(STEPS)) % URN, law.log())


EXACT = {"parity": exact_parity, "recall": exact_recall, "urn": exact_urn}


def uniform(low, high, vocab):
    """Equally likely from low up to high, never anything else."""

    def logits(ids):
        result = torch.full((*ids.shape, vocab), -1e4)
        result[..., low:high] = 0
        return result

    return logits


UNIFORM = {"parity": uniform(0, 2, 3), "recall": uniform(9, 21, 22), "urn": uniform(0, URN, URN + 1)}


@pytest.fixture(scope="module", params=BASES)
def built(request, tmp_path_factory):
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    task = registry.load("tasks", kind, "kind")
    config = parse(task.Config, BASES[kind], "tasks.t")
    metrics = task.generate(config, folder / "raw")
    task.tokenize(config, folder / "raw", folder / "tokens")
    return kind, metrics, open_tokens(folder / "tokens"), folder / "raw"


def evaluate(built, model, **options):
    kind, _, tokens, raw = built
    return registry.load("evaluation", kind, "kind").evaluate(model, tokens, raw, **options)


def summaries(built, seeds):
    return registry.load("evaluation", built[0], "kind").summaries(seeds)


def tables(built, seeds):
    return registry.load("evaluation", built[0], "kind").tables(seeds)


def parts(result):
    return [*(result[name] for name in ("train", "validation", "test")), *result["lengths"].values(), *result.get("pairs", {}).values()]


def test_the_exact_predictor_has_no_excess(built):
    kind, metrics, _, _ = built
    result = evaluate(built, Table(EXACT[kind]))
    for part in (family for entry in parts(result) for family in (entry, *entry.get("families", {}).values())):
        assert part["excess"] == pytest.approx(0, abs=1e-6)
        assert part["loss"] == pytest.approx(part["floor"], abs=1e-6)
        if metrics["floor"]["accuracy"] == 1:
            assert part["accuracy"] == 1
            assert part["loss"] == part["floor"] == 0
    for row in result["positions"]:
        assert row["excess"] == pytest.approx(0, abs=2e-6)
    json.dumps(result, allow_nan=False)


def test_a_uniform_model_loses_what_its_control_says(built):
    kind, metrics, _, _ = built
    result = evaluate(built, Table(UNIFORM[kind]))
    for part in parts(result):
        assert part["loss"] == pytest.approx(metrics["controls"]["uniform"]["loss"], abs=1e-5)
        assert part["excess"] == pytest.approx(part["loss"] - part["floor"], abs=1e-6)
    assert result["test"]["accuracy"] == pytest.approx(metrics["controls"]["uniform"]["accuracy"], abs=0.12)


@pytest.mark.parametrize("built", ["recall"], indirect=True)
def test_a_guess_among_the_values_of_the_sequence_loses_their_logarithm(built):
    _, metrics, _, raw = built

    def logits(ids):
        there = torch.zeros(len(ids), 22).scatter(1, ids, 1.0)
        there[:, :9] = there[:, 21] = 0
        return torch.where(there > 0, 0.0, -1e4)[:, None].expand(-1, ids.shape[1], -1)

    result = evaluate(built, Table(logits))
    n = load(raw, "test", "pairs").astype(float)
    assert result["test"]["loss"] == pytest.approx((n * np.log(n)).sum() / n.sum(), abs=1e-5)
    for pairs in ("4", "9"):
        assert result["pairs"][pairs]["loss"] == pytest.approx(metrics["pairs"][pairs]["controls"]["uniform over those that occurred"]["loss"], abs=1e-5)


def test_the_paired_floor_is_near_the_expected_one(built):
    _, metrics, _, _ = built
    result = evaluate(built, Table(UNIFORM[built[0]]))
    assert result["test"]["floor"] == pytest.approx(metrics["floor"]["loss"], abs=0.1)
    assert result["lengths"]["30"]["floor"] == pytest.approx(metrics["lengths"]["30"]["loss"], abs=0.1)


def test_means_weigh_every_target_alike_whatever_the_batch_size(built):
    kind, _, tokens, _ = built
    vocab, pad = tokens.vocab_size, tokens.header["tokenizer"]["pad"]

    def logits(ids):  # bets on the last id with a confidence that depends on the position
        return torch.zeros(*ids.shape, vocab).scatter(-1, ids[..., None], torch.arange(1.0, ids.shape[1] + 1)[None, :, None].expand(len(ids), -1, 1))

    small, large = (evaluate(built, Table(logits), batch_size=size) for size in (3, 256))
    assert small == large
    ids = torch.from_numpy(tokens.split("test").astype(np.int64))
    x, y = (ids, torch.from_numpy(tokens.split("test.targets").astype(np.int64))) if tokens.header.get("targets") else (ids[:, :-1], ids[:, 1:])
    loss = nn.functional.cross_entropy(logits(x).flatten(0, 1), y.flatten(), ignore_index=pad)
    assert large["test"]["loss"] == pytest.approx(float(loss), abs=1e-5)
    scored = y != pad
    assert large["test"]["accuracy"] == pytest.approx(float((x == y)[scored].float().mean()))
    by_position = {row["position"]: row for row in large["positions"] if row["split"] == "test"}
    assert sorted(by_position) == [t + 1 for t in range(x.shape[1]) if scored[:, t].any()]
    assert all(row["accuracy"] == pytest.approx(float((x == y)[:, t - 1][scored[:, t - 1]].float().mean()), abs=1e-5) for t, row in by_position.items())
    assert kind != "recall" or min(by_position) >= 5  # two pairs are read before


def test_lengths_beyond_a_table_of_positions_are_skipped_with_the_reason(built):
    kind = built[0]
    enough = 9 if kind == "urn" else 16 if kind == "recall" else 10  # the last term of an urn's walk is never read
    short, long = ("16", "30") if kind == "recall" else ("10", "30")
    result = evaluate(built, Table(UNIFORM[kind], enough))
    assert "loss" in result["lengths"][short]
    assert "loss" in result["test"]
    assert result["lengths"][long] == {"skipped": f"rows of 30 terms; the model takes at most {enough}"}
    assert "skipped" in evaluate(built, Table(UNIFORM[kind], enough - 1))["test"]
    summary = summaries(built, {0: result})
    assert {f"excess_{short}", f"accuracy_{short}"} <= set(summary)
    assert not {f"excess_{long}", f"accuracy_{long}"} & set(summary)
    assert {row["length"] for row in tables(built, {0: result})["length"]} == {int(short)}


def test_summary_and_tables_over_seeds(built):
    kind = built[0]
    seeds = {0: evaluate(built, Table(UNIFORM[kind])), 1: evaluate(built, Table(EXACT[kind]))}
    more = {"urn": ["worst_excess", "entropy", "bayes_entropy", "calibration_error"]}.get(kind, ["never_wrong"])
    labels = ["16", "30", "pairs_4", "pairs_9"] if kind == "recall" else ["10", "30"]
    summary = summaries(built, seeds)
    assert set(summary) == SHARED | set(more) | {f"{name}_{label}" for name in ("excess", "accuracy", *more) for label in labels}
    assert summary["excess"]["n"] == 2
    assert summary["excess_30"]["mean"] == pytest.approx(np.mean([result["lengths"]["30"]["excess"] for result in seeds.values()]))

    found = tables(built, seeds)
    assert set(found) == {"positions", "length"} | ({"pairs"} if kind == "recall" else set())
    assert list(found["positions"][0]) == ["seed", "split", "family", "position", "loss", "floor", "excess", "accuracy"]
    for axis in set(found) - {"positions"}:
        assert list(found[axis][0]) == ["seed", axis, "family", "loss", "floor", "excess", "accuracy"]
        csv.DictWriter(io.StringIO(), list(found[axis][0])).writerows(found[axis])
    assert {row["split"] for row in found["positions"]} == {"train", "validation", "test", "length30"} | ({"pairs9"} if kind == "recall" else set())
    row = next(row for row in found["length"] if (row["seed"], row["length"], row["family"]) == (0, 30, "all"))
    assert row["excess"] == seeds[0]["lengths"]["30"]["excess"]


@pytest.mark.parametrize("built", ["urn"], indirect=True)
def test_how_sure_a_model_is_of_a_walk_is_told_beside_how_sure_it_should_be(built):
    def sure(ids):
        return certain((ids + 1) % URN, URN + 1)

    exact, bold = (evaluate(built, Table(logits), splits=["length30"])["lengths"]["30"] for logits in (exact_urn, sure))
    assert exact["entropy"] == pytest.approx(exact["bayes_entropy"], abs=1e-5)
    assert exact["bayes_entropy"] == pytest.approx(exact["floor"], abs=0.1)  # each is what the other expects
    assert bold["bayes_entropy"] == exact["bayes_entropy"]
    assert bold["entropy"] == pytest.approx(0, abs=1e-5)
    assert exact["calibration_error"] < 0.1 < bold["calibration_error"] == pytest.approx(1 - bold["accuracy"])


@pytest.mark.parametrize("built", ["parity"], indirect=True)
def test_a_model_that_forgets_the_state_fails_where_it_does(built):
    def logits(ids):  # counts no bit from the 13th on
        return exact_parity(torch.where(torch.arange(ids.shape[1]) < 12, ids, 0))

    result = evaluate(built, Table(logits))
    assert result["test"]["first_error"] == {"never": 1.0}
    failed = result["lengths"]["30"]["first_error"]
    assert failed["never"] == 0
    assert 13 <= failed["median"] <= failed["mean"] < 18  # at the first one among the bits it ignores
    rows = {row["position"]: row["accuracy"] for row in result["positions"] if row["split"] == "length30"}
    assert [rows[t] for t in (1, 12)] == [1, 1]
    assert max(rows[t] for t in (20, 30)) < 1


# --- measures -----------------------------------------------------------------------------------------------------------


def scores(correct):
    correct = np.array(correct, np.float64)
    return Scores(correct, correct, correct, correct, correct)


def test_the_first_error_is_counted_from_the_start_and_unscored_targets_are_no_error():
    nan = np.nan
    found = first_error(scores([[1, 0, 0, 1], [0, 1, 1, nan], [nan, nan, 1, 0], [1, 1, nan, nan], [nan] * 4]))
    assert found == {"first_error": {"never": 0.25, "mean": pytest.approx((2 + 1 + 4) / 3), "median": 2.0}}
    assert first_error(scores([[0, 1, 1, 1], [0, 1, 0, 0], [0, nan, nan, nan]]), 1) == {"first_error": {"never": 0.5, "mean": 3.0, "median": 3.0}}
    assert first_error(scores([[nan, nan]])) == {}
    assert first_error(scores([[1, 1]])) == {"first_error": {"never": 1.0}}


def test_the_worst_position_has_the_largest_mean_excess():
    nan = np.nan
    loss, floor = np.array([[1, 2, 9, nan], [3, 6, nan, nan]]), np.array([[1, 1, 5, nan], [1, 1, nan, nan]])
    rest = np.zeros((2, 4))
    assert worst_position(Scores(loss, floor, rest, rest, rest)) == {"worst_excess": 4.0}  # 1, 3, 4


def test_the_calibration_error_is_the_gap_within_bins():
    one = Scores(*np.zeros((2, 4)), np.array([1.0, 1, 0, 0]), np.full(4, 0.5), np.array([0.9, 0.9, 0.9, 0.1]))
    assert calibration(one, np.full(4, 0.7)) == {"entropy": 0.5, "bayes_entropy": pytest.approx(0.7), "calibration_error": pytest.approx((0.7 + 0.1) / 4)}


def test_the_distance_to_what_is_recalled_is_counted_from_its_key():
    ids = np.array([[3, 8, 5, 9, 5, 10, 3, 10], [1, 7, 2, 6, 10, 10, 10, 2]])
    asked = np.array([[0, 0, 0, 0, 1, 0, 1, 0], [0] * 7 + [1]], bool)
    assert distances(ids, asked).tolist() == [[0, 0, 0, 0, 2, 0, 6, 0], [0] * 7 + [5]]


@pytest.mark.parametrize("built", ["recall"], indirect=True)
def test_figures_by_distance_add_up_to_the_whole(built):
    def logits(ids):  # remembers 7 tokens
        exact, blind = exact_recall(ids), UNIFORM["recall"](ids)
        near = torch.from_numpy(distances(ids.numpy(), np.ones(ids.shape, bool)) < 8)
        return torch.where(near[..., None], exact, blind)

    result = evaluate(built, Table(logits))["lengths"]["30"]
    families = result["families"]
    assert list(families) == ["distance 2-3", "distance 4-7", "distance 8-15", "distance 16-31"][-len(families) :]
    for name, part in families.items():
        assert part["loss"] == pytest.approx(0 if int(name.split()[1].split("-")[0]) < 8 else np.log(12), abs=1e-5)
    assert 0 < result["loss"] < np.log(12)
