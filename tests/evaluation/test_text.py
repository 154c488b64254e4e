"""Evaluation of language models with models whose scores are known in advance."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from picollm import models
from picollm.core.errors import UserError
from picollm.core.files import write_json
from picollm.core.tokens import TokenFolder, open_tokens, write_header, write_split
from picollm.evaluation import text
from picollm.models import lstm

END = 4
DOCUMENTS = [[0, 1, 2, 3], [1, 2], [3, 0, 1, 2, 3, 0], [2], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]] * 6


class Fake(models.Model):
    """Its logits are a table of the current token and the position."""

    device = torch.device("cpu")

    def __init__(self, table: Tensor, by_position: Tensor | None = None) -> None:
        super().__init__(None, table.shape[-1])
        self.table, self.by_position = table, by_position
        self.calls: list[tuple[int, ...]] = []

    def forward(self, ids: Tensor, state: None = None) -> Tensor:
        assert not torch.is_grad_enabled()
        self.calls.append(tuple(ids.shape))
        logits = self.table[ids]
        return logits if self.by_position is None else logits * self.by_position[: ids.shape[1], None]


def evaluate(model: models.Model, tokens: TokenFolder, context: int) -> dict:
    return text.evaluate(model, tokens, Path("no/raw/data"), context)


def uniform() -> Fake:
    return Fake(torch.zeros(5, 5))


def counting(sharpness: float) -> Fake:
    """Expects n + 1 modulo 4 after n, and 0 after an end."""
    table = torch.zeros(5, 5)
    for token, following in [(0, 1), (1, 2), (2, 3), (3, 0), (END, 0)]:
        table[token, following] = sharpness
    return Fake(table)


def folder(path: Path, documents=DOCUMENTS, bits: float | None = None, test: bool = True, whole: bool = True) -> TokenFolder:
    """Every token is 3 bytes of text, every document of the given bits."""
    splits = {}
    for split in ("train", "validation", *(["test"] if test else [])):
        own = documents if split == "test" else documents[:5]
        stream = [END] + [token for document in own for token in [*document, END]]
        sizes = [3 * len(document) for document in own]
        splits[split] = write_split(path, split, [np.array(stream if whole else stream[:-1])], 5)
        splits[split] |= {"bytes": sum(sizes), "documents": len(own), "whole": whole, "bits": None if bits is None else bits * len(own)}
        np.save(path / f"{split}.offsets.npy", np.flatnonzero(np.array(stream) == END))
        np.save(path / f"{split}.bytes.npy", np.array(sizes))
        np.save(path / f"{split}.bits.npy", np.full(len(own), bits or 0.0))
    write_header(path, kind="text", vocab_size=5, tokenizer={"kind": "chars", "characters": "abcd"}, splits=splits, end=END)
    return open_tokens(path)


def test_a_uniform_model_pays_the_logarithm_of_the_vocabulary_for_every_token(tmp_path):
    tokens = folder(tmp_path)
    result = evaluate(uniform(), tokens, context=8)
    for split in ("validation", "test"):
        facts, targets = tokens.header["splits"][split], len(tokens.split(split)) - 1
        packed = result[split]["packed"]
        assert packed["tokens"] == targets
        assert packed["loss"] == pytest.approx(math.log(5))
        assert packed["perplexity"] == pytest.approx(5)
        assert packed["bits_per_byte"] == pytest.approx(targets * math.log2(5) / facts["bytes"])


@pytest.mark.parametrize("context", [1, 3, 7, 8, 500])
def test_packed_windows_score_every_token_but_the_first_once(tmp_path, context):
    tokens = folder(tmp_path)
    stream = tokens.split("test").astype(np.int64)
    packed = evaluate(counting(2.0), tokens, context)["test"]["packed"]
    logs = counting(2.0).table.log_softmax(-1)
    nats = [-float(logs[a, b]) for a, b in pairwise(stream)]
    assert packed["loss"] == pytest.approx(np.mean(nats))
    assert packed["accuracy"] == pytest.approx(np.mean([b == (a + 1) % 4 if a != END else b == 0 for a, b in pairwise(stream)]))


def test_documents_are_scored_from_their_start_token_to_their_end(tmp_path):
    result = evaluate(counting(2.0), folder(tmp_path), context=7)["test"]["documents"]
    fitting = [document for document in DOCUMENTS if len(document) + 1 <= 7]
    logs = counting(2.0).table.log_softmax(-1)
    nats = sum(-float(logs[a, b]) for document in fitting for a, b in pairwise([END, *document, END]))
    assert (result["documents"], result["left_out"]) == (24, 6)
    assert result["tokens"] == sum(len(document) + 1 for document in fitting)
    assert result["bits_per_byte"] == pytest.approx(nats / math.log(2) / sum(3 * len(document) for document in fitting))
    assert "floor_bits_per_byte" not in result


def test_the_floor_is_that_of_the_very_same_documents(tmp_path):
    result = evaluate(uniform(), folder(tmp_path, bits=5.0), context=7)["test"]["documents"]
    size = 6 * 3 * (4 + 2 + 6 + 1)
    assert result["floor_bits_per_byte"] == pytest.approx(24 * 5 / size)
    assert result["excess_bits_per_byte"] == pytest.approx(result["bits_per_byte"] - 24 * 5 / size)
    assert result["floor_loss"] / result["loss"] == pytest.approx(result["floor_bits_per_byte"] / result["bits_per_byte"])


def test_a_perfect_predictor_has_no_excess(tmp_path):
    """Documents are 0 1 2 3 or nothing but one more of it, half and half at each end: one bit each time."""
    generator = np.random.Generator(np.random.PCG64(0))
    documents = [[0, 1, 2, 3] * int(n) for n in generator.geometric(0.5, 4000)]
    table = torch.full((5, 5), -30.0)
    for token, following in [(0, [1]), (1, [2]), (2, [3]), (3, [0, END]), (END, [0])]:
        table[token, following] = 0.0
    tokens = folder(tmp_path, documents)
    np.save(tmp_path / "test.bits.npy", np.array([len(document) / 4 for document in documents]))
    tokens.header["splits"]["test"]["bits"] = sum(len(document) / 4 for document in documents)
    result = evaluate(Fake(table), tokens, context=64)["test"]["documents"]
    assert result["floor_bits_per_byte"] == pytest.approx(1 / 12)
    assert abs(result["excess_bits_per_byte"]) < 1e-6


def test_batches_hold_what_they_may_and_change_nothing(tmp_path, monkeypatch):
    tokens = folder(tmp_path)
    whole = evaluate(counting(1.5), tokens, context=8)
    monkeypatch.setattr(text, "LOGITS", 5 * 8 * 2)
    model = counting(1.5)
    small = evaluate(model, tokens, context=8)
    assert max(batch * length for batch, length in model.calls if length <= 8) == 16
    assert small["test"]["documents"]["loss"] == pytest.approx(whole["test"]["documents"]["loss"], rel=1e-12)
    assert small["test"]["packed"]["loss"] == pytest.approx(whole["test"]["packed"]["loss"], rel=1e-12)


def test_longer_windows_are_measured_by_position(tmp_path):
    by_position = torch.zeros(64)
    by_position[:16] = 1.0  # knows nothing beyond 16 tokens
    result = evaluate(Fake(counting(3.0).table, by_position), folder(tmp_path), context=16)
    rows = [row for row in result["positions"] if row["length"] == 64]
    assert [row["position"] for row in rows] == list(range(2, 65, 2))
    assert all(row["loss"] == pytest.approx(math.log(5), abs=1e-5) for row in rows if row["position"] > 16)
    assert np.mean([row["loss"] for row in rows if row["position"] <= 16]) < 1.3
    assert list(result["lengths"]) == ["16", "32", "64"]
    assert result["lengths"]["16"]["loss"] < result["lengths"]["32"]["loss"] < result["lengths"]["64"]["loss"]


def test_lengths_that_cannot_be_measured_say_why(tmp_path):
    model = uniform()
    model.max_length = 32
    result = evaluate(model, folder(tmp_path), context=32)
    assert result["lengths"]["64"] == {"skipped": "the model takes at most 32 tokens"}
    short = evaluate(uniform(), folder(tmp_path / "b", DOCUMENTS[:2]), context=8)["lengths"]
    assert short["8"]["loss"] == pytest.approx(math.log(5))
    assert short["16"] == {"skipped": "the split has 9 tokens"}
    with pytest.raises(UserError, match=r"^training\.context: 33 tokens, but the model takes at most 32; "):
        evaluate(model, folder(tmp_path / "c"), context=33)


def test_documents_that_do_not_fit_are_skipped_with_the_reason(tmp_path):
    result = evaluate(uniform(), folder(tmp_path), context=1)["test"]["documents"]
    assert result == {"skipped": "no document fits into a context of 1 tokens", "documents": 0, "left_out": 30}
    assert text.summaries({0: evaluate(uniform(), folder(tmp_path), context=1)})["bits_per_byte"]["mean"] > 0


def test_a_cut_text_has_no_documents(tmp_path):
    result = evaluate(uniform(), folder(tmp_path, test=False, whole=False), context=8)
    assert list(result) == ["validation", "lengths", "positions"]
    assert list(result["validation"]) == ["packed"]
    summaries = text.summaries({0: result})
    assert list(summaries) == ["validation_loss", "bits_per_byte", "perplexity", "accuracy"]


def test_summaries_and_tables_are_over_seeds(tmp_path):
    tokens = folder(tmp_path, bits=5.0)
    seeds = {seed: evaluate(counting(seed), tokens, context=8) for seed in (1, 2, 3)}
    found = text.summaries(seeds)
    assert set(found) == {
        "validation_loss", "test_loss", "bits_per_byte", "floor_bits_per_byte", "excess_bits_per_byte", "floor_loss", "perplexity", "accuracy"
    }  # fmt: skip
    assert found["test_loss"]["n"] == 3
    assert found["test_loss"]["low"] < found["test_loss"]["mean"] < found["test_loss"]["high"]
    assert found["bits_per_byte"]["mean"] == pytest.approx(np.mean([seeds[seed]["test"]["documents"]["bits_per_byte"] for seed in seeds]))
    assert found["floor_bits_per_byte"]["low"] == pytest.approx(found["floor_bits_per_byte"]["high"])
    tables = text.tables(seeds)
    assert [(row["seed"], row["length"]) for row in tables["length"]] == [(seed, length) for seed in (1, 2, 3) for length in (8, 16, 32)]
    assert set(tables["positions"][0]) == {"seed", "length", "position", "loss"}


def test_a_recurrent_model_is_evaluated_the_same_twice(tmp_path):
    torch.manual_seed(0)
    model = lstm.Model(lstm.Config(d_model=8), 5)
    tokens = folder(tmp_path, bits=5.0)
    result = evaluate(model, tokens, context=8)
    assert result == evaluate(model, tokens, context=8)
    assert not model.training
    assert 1 < result["test"]["packed"]["loss"] < 2.5


def test_the_held_out_sets_are_measured_against_the_full_grammar(tmp_path):
    tokens = folder(tmp_path, bits=5.0)
    for name, source in (("heldout_templates", "test"), ("heldout_combinations", "validation")):
        entry = {**tokens.header["splits"][source], **write_split(tmp_path, name, [tokens.split(source)], 5)}
        tokens.header["splits"][name] = entry
        for kind in ("offsets", "bytes", "bits"):
            np.save(tmp_path / f"{name}.{kind}.npy", np.load(tmp_path / f"{source}.{kind}.npy"))
    result = evaluate(counting(2.0), tokens, context=8)
    assert result["heldout_templates"] == {"floor_of": "the full grammar", "documents": result["test"]["documents"]}
    assert result["heldout_combinations"]["documents"] == result["validation"]["documents"]
    found = text.summaries({0: result})
    assert found["excess_bits_per_byte_heldout_templates"]["mean"] == found["excess_bits_per_byte"]["mean"]
    assert found["bits_per_byte_heldout_combinations"]["mean"] == result["validation"]["documents"]["bits_per_byte"]


def test_a_pair_is_won_by_the_more_likely_text_and_a_tie_is_lost(tmp_path):
    tokens = folder(tmp_path / "tokens")
    sides = [("a", "abcd", "abdc"), ("a", "abca", "abcd"), ("a", "abc", "abcb"), ("b", "abcda", "abcab"), ("b", "abcdabcdabcd", "dcba"), ("b", "cc", "aa")]
    pairs = [{"category": category, "change": "order", "right": right, "wrong": wrong} for category, right, wrong in sides]
    write_json(tmp_path / "pairs.json", pairs)
    found = text.evaluate(counting(3.0), tokens, tmp_path, 8)["pairs"]
    assert found["left_out"] == 1
    logs = counting(3.0).table.log_softmax(-1).double()

    def score(word):
        ids = [END, *("abcd".index(letter) for letter in word)]
        return sum(float(logs[a, b]) for a, b in pairwise(ids))

    for category in "ab":
        own = [score(right) > score(wrong) + 1e-9 for name, right, wrong in sides if name == category and len(right) <= 8]
        assert found["categories"][category] == {"accuracy": pytest.approx(sum(own) / len(own)), "pairs": len(own)}
        assert 0 < sum(own) < len(own)
    assert found["accuracy"] == pytest.approx(np.mean([own["accuracy"] for own in found["categories"].values()]))
    lost = text.evaluate(uniform(), tokens, tmp_path, 4)["pairs"]
    assert lost["categories"]["a"] == {"accuracy": pytest.approx(1 / 3), "pairs": 3}, "a shorter text is likelier, and two of the same length are equal"
    summary = text.summaries({0: {**evaluate(uniform(), tokens, 8), "pairs": found}})
    assert summary["pairs_accuracy"]["mean"] == found["accuracy"]
    assert summary["pairs_accuracy_b"]["mean"] == found["categories"]["b"]["accuracy"]
    assert text.evaluate(uniform(), tokens, tmp_path, 1)["pairs"] == {"skipped": "no pair fits into a context of 1 tokens", "left_out": 6}


def test_a_damaged_array_is_named(tmp_path):
    tokens = folder(tmp_path)
    (tmp_path / "validation.offsets.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"validation\.offsets\.npy: is missing or damaged"):
        evaluate(uniform(), tokens, context=8)


def test_a_mixture_is_weighted_as_it_is_trained_and_each_source_measured(tmp_path):
    tokens = folder(tmp_path, bits=5.0)
    for split in ("validation", "test"):
        entry, stream = tokens.header["splits"][split], tokens.split(split)
        cut = int(np.load(tmp_path / f"{split}.offsets.npy")[2])
        first = 3 * (len(DOCUMENTS[0]) + len(DOCUMENTS[1]))
        entry["sources"] = [
            {"name": "a", "weight": 0.75, "start": 0, "end": cut + 1, "documents": 2, "bytes": first},
            {"name": "b", "weight": 0.25, "start": cut, "end": len(stream), "documents": entry["documents"] - 2, "bytes": entry["bytes"] - first},
        ]
    tokens.header["splits"]["train"]["sources"] = tokens.header["splits"]["validation"]["sources"]
    model = Fake(torch.randn(5, 5))
    result = evaluate(model, tokens, context=7)
    own = result["test"]["sources"]
    table = model.table.log_softmax(-1)
    stream = [END, *DOCUMENTS[0], END, *DOCUMENTS[1], END]
    assert own["a"]["packed"]["loss"] == pytest.approx(np.mean([-float(table[a, b]) for a, b in pairwise(stream)]))
    assert own["a"]["packed"]["tokens"] + own["b"]["packed"]["tokens"] == len(tokens.split("test")) - 1
    assert (own["a"]["documents"]["documents"], own["b"]["documents"]["documents"]) == (2, 22)
    assert own["a"]["documents"]["loss"] == pytest.approx(own["a"]["packed"]["loss"])
    packed = result["test"]["packed"]
    for name in ("loss", "accuracy"):
        assert packed[name] == pytest.approx(0.75 * own["a"]["packed"][name] + 0.25 * own["b"]["packed"][name])
    found = text.summaries({0: result})
    assert found["test_loss_a"]["mean"] == own["a"]["packed"]["loss"]
    assert found["bits_per_byte_b"]["mean"] == own["b"]["packed"]["bits_per_byte"]
    assert {"validation_loss", "validation_loss_a", "validation_loss_b", "test_loss", "bits_per_byte"} <= set(found)
