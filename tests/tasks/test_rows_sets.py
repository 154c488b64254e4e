"""What tasks of number sequences share, for each of them: messages, streams, stored sets, token rows."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.core import registry
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.files import sha256
from picollm.core.tokens import open_tokens
from picollm.tasks._rows import load, term_weights

COUNTS = {"train": 60, "validation": 20, "test": 30, "long": 10}
BASES = {
    "parity": {**COUNTS, "kind": "parity", "train_lengths": [3, 12], "long_lengths": [12, 40]},
    "recall": {**COUNTS, "kind": "recall", "keys": 9, "values": 12, "pairs": [2, 4], "length": 16, "long_lengths": [16, 40], "more_pairs": [4, 9]},
    "urn": {**COUNTS, "kind": "urn", "train_lengths": [3, 12], "long_lengths": [12, 40]},
}
KINDS = pytest.mark.parametrize("kind", BASES)
RANGED = ("parity", "urn")  # whose lengths are a range
OWN_TARGETS = ("parity", "recall")
EXAMPLES = settings(max_examples=40)


def task(kind):
    return registry.load("tasks", kind, "kind")


def config(kind, **changes):
    return parse(task(kind).Config, {**BASES[kind], **changes}, "tasks.t")


# --- configuration ------------------------------------------------------------------------------------------------------


def mistakes():
    for kind in BASES:
        yield kind, {"train": 0}, "tasks.t.train: 0 sequences; give at least 1"
        yield kind, {"long": "5"}, "tasks.t.long: "
        yield kind, {"seed": -1}, "tasks.t.seed: -1 is negative"
        yield kind, {"lenght": 5}, "tasks.t.lenght: unknown parameter"
        yield kind, {"long_lengths": [48, 32]}, "tasks.t.long_lengths: [48, 32]; give different lengths from "
        yield kind, {"long_lengths": [32, 32]}, "tasks.t.long_lengths: "
        yield kind, {"long_lengths": [0, 32]}, "tasks.t.long_lengths: "
        yield kind, {"long_lengths": [70000]}, "tasks.t.long_lengths: 70000 terms are too many"
    for kind in RANGED:
        yield kind, {"train_lengths": [8]}, "tasks.t.train_lengths: [8] is no range; give [shortest, longest]"
        yield kind, {"train_lengths": [9, 8]}, "tasks.t.train_lengths: "
        yield kind, {"train_lengths": [0, 8]}, "tasks.t.train_lengths: "
        yield kind, {"train_lengths": [8, 70000]}, "tasks.t.train_lengths: 70000 terms are too many"
    yield "urn", {"train_lengths": [1, 8]}, "tasks.t.train_lengths: "  # a single term is never scored
    yield "urn", {"long_lengths": [5000]}, "tasks.t.long_lengths: 5000 terms are too many; give at most 4096"
    yield "urn", {"alpha": 0}, "tasks.t.alpha: 0.0 is no concentration"
    yield "urn", {"alpha": 1000}, "tasks.t.alpha: 1000.0 is no concentration"
    yield "recall", {"keys": 0}, "tasks.t.keys: 0 of them"
    yield "recall", {"values": 0}, "tasks.t.values: 0 of them"
    yield "recall", {"keys": 40_000}, "tasks.t.keys: 40000 and 12 values are too many"
    yield "recall", {"pairs": []}, "tasks.t.pairs: [] is no range"
    yield "recall", {"pairs": [0, 4]}, "tasks.t.pairs: [0, 4] is no range"
    yield "recall", {"pairs": [4, 3]}, "tasks.t.pairs: "
    yield "recall", {"pairs": [4, 10], "length": 64, "long_lengths": [64]}, "tasks.t.pairs: 10 pairs need as many keys and values, there are 9 and 12"
    yield "recall", {"more_pairs": [10]}, "tasks.t.more_pairs: 10 pairs need as many keys and values"
    yield "recall", {"more_pairs": [9, 4]}, "tasks.t.more_pairs: [9, 4]; give different numbers from 1 up"
    yield "recall", {"more_pairs": [0]}, "tasks.t.more_pairs: "
    yield "recall", {"length": 15}, "tasks.t.length: 15 tokens do not hold 4 pairs and their queries; give at least 16"
    yield "recall", {"length": 70000}, "tasks.t.length: 70000 terms are too many"
    yield "recall", {"long_lengths": [15]}, "tasks.t.long_lengths: [15]; give different lengths from 16 up"


@pytest.mark.parametrize(("kind", "changes", "message"), list(mistakes()), ids=str)
def test_mistakes_in_the_configuration_are_named(kind, changes, message):
    with pytest.raises(UserError) as error:
        config(kind, **changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@KINDS
def test_a_few_counts_make_a_task_and_its_configuration_survives_json(kind):
    made = parse(task(kind).Config, {**COUNTS, "kind": kind}, "x")
    assert parse(task(kind).Config, json.loads(json.dumps(made.__dict__)), "x") == made
    assert made.pad == made.vocab_size - 1 == {"parity": 2, "recall": 128, "urn": 16}[kind]
    assert made.trained_length(None) == {"parity": 40, "recall": 64, "urn": 63}[kind]  # what a model reads of the longest sequence


# --- the stream ---------------------------------------------------------------------------------------------------------


def arrays(kind, batch):
    """The ids, and where a task has them its targets."""
    return batch if kind in OWN_TARGETS else (batch,)


def same(kind, a, b):
    return all(x.shape == y.shape and (x == y).all() for x, y in zip(arrays(kind, a), arrays(kind, b), strict=True))


@KINDS
@EXAMPLES
@given(step=st.integers(0, 10**12), seed=st.integers(0, 10**6))
def test_a_batch_is_a_pure_function_of_seeds_and_step(kind, step, seed):
    stream = task(kind).stream
    batch = stream(config(kind), seed, 16)
    first = batch(step)
    batch(step + 1)
    assert same(kind, batch(step), first)
    assert same(kind, stream(config(kind), seed, 16)(step), first)
    for other in (batch(step + 1), stream(config(kind), seed + 1, 16)(step), stream(config(kind, seed=1), seed, 16)(step)):
        assert not same(kind, other, first)


@KINDS
@EXAMPLES
@given(step=st.integers(0, 1000), size=st.integers(1, 40))
def test_a_batch_has_the_targets_of_its_sequences_and_no_padding(kind, step, size):
    made = config(kind)
    ids, *own = arrays(kind, task(kind).stream(made, 0, size)(step))
    assert ids.min() >= 0
    if kind in RANGED:
        length = ids.shape[1]
        assert 3 <= length <= 12
        assert ids.max() < made.pad
        scored = ids.size - len(ids) * made.unscored
        per_row = length - made.unscored
        assert scored == per_row or abs(scored - size * np.mean(np.arange(3, 13) - made.unscored)) <= per_row / 2
    else:
        assert ids.shape == (size, 16)
    for targets in own:
        assert targets.shape == ids.shape
        assert (targets != made.pad).any(1).all()


@pytest.mark.parametrize("kind", RANGED)
def test_a_scored_term_is_as_likely_as_with_uniform_lengths(kind):
    made = config(kind)
    batch = task(kind).stream(made, 0, 64)
    terms = np.zeros(13)
    for step in range(3000):
        ids = arrays(kind, batch(step))[0]
        terms[ids.shape[1]] += ids.size - len(ids) * made.unscored
    wanted = np.arange(3, 13) - made.unscored
    assert terms[3:] / terms.sum() == pytest.approx(wanted / wanted.sum(), abs=0.025)


def test_term_weights_count_how_many_lengths_reach_a_term():
    expected = [0.0] + [np.mean([length > t for length in range(8, 33)]) for t in range(1, 32)]
    assert term_weights(8, 32) == pytest.approx(expected)
    assert term_weights(5, 5).tolist() == [0, 1, 1, 1, 1]
    assert term_weights(2, 3, 0) == pytest.approx([1, 1, 0.5])


# --- stored sets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=BASES)
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    made = config(request.param)
    return request.param, folder, task(request.param).generate(made, folder / "raw"), task(request.param).tokenize(made, folder / "raw", folder / "tokens")


def splits_of(kind):
    trained = 16 if kind == "recall" else 12
    splits = {"train": (60, trained), "validation": (20, trained), "test": (30, trained), f"length{trained}": (10, trained), "length40": (10, 40)}
    return {**splits, "pairs4": (10, 16), "pairs9": (10, 36)} if kind == "recall" else splits


def test_generated_sets_have_their_sizes(built):
    kind, folder, metrics, counts = built
    assert {split: (entry["rows"], entry["row_length"]) for split, entry in counts.items()} == splits_of(kind)
    facts = json.loads((folder / "raw/facts.json").read_text())
    for split, shape in splits_of(kind).items():
        assert load(folder / "raw", split, "values").shape == shape
        assert facts["splits"][split] == {"row_length": shape[1]}
        assert metrics["splits"][split]["sequences"] == shape[0]
    json.dumps(metrics, allow_nan=False)


def test_metrics_have_a_floor_below_all_that_know_no_more(built):
    kind, _, metrics, _ = built
    assert set(metrics["lengths"]) == {name.removeprefix("length") for name in splits_of(kind) if name.startswith("length")}
    for name, control in metrics["controls"].items():
        assert (control["loss"] > metrics["floor"]["loss"]) == (control["accuracy"] < metrics["floor"]["accuracy"]) == (name != "knows the law")


def test_tokens_are_the_values_and_the_pad_and_the_header_tells_of_targets(built):
    kind, folder, metrics, _ = built
    tokens, made = open_tokens(folder / "tokens"), config(kind)
    assert tokens.vocab_size == made.vocab_size
    assert tokens.header["tokenizer"] == {"kind": "integers", "pad": made.pad}
    assert tokens.header.get("targets") == (True if kind in OWN_TARGETS else None)
    assert parse(task(kind).Config, tokens.header["stream"], "header") == made
    for split in splits_of(kind):
        values = load(folder / "raw", split, "values")
        assert (tokens.split(split) == np.where(values < 0, made.pad, values)).all()
        if kind in OWN_TARGETS:
            targets = tokens.split(f"{split}.targets")
            assert targets.shape == values.shape
            assert (targets != made.pad).sum() == metrics["splits"][split]["scored"]
        else:
            assert f"{split}.targets" not in tokens.header["splits"]
            assert (load(folder / "raw", split, "floor") >= 0).sum() == metrics["splits"][split]["scored"]  # a NaN is not


def test_made_again_it_is_the_same_to_the_last_byte_and_another_seed_is_not(built, tmp_path):
    kind, folder, metrics, _ = built
    assert task(kind).generate(config(kind), tmp_path / "again") == metrics
    files = sorted(path.name for path in (folder / "raw").iterdir())
    assert [sha256(folder / "raw" / name) for name in files] == [sha256(tmp_path / "again" / name) for name in files]
    task(kind).generate(config(kind, seed=1), tmp_path / "other")
    assert sha256(tmp_path / "other/test.values.npy") != sha256(folder / "raw/test.values.npy")


def test_one_more_length_leaves_the_other_sets_alone(built, tmp_path):
    kind, folder, _, _ = built
    task(kind).generate(config(kind, long_lengths=[20, 40]), tmp_path)
    for split in ("test", "length40"):
        assert sha256(tmp_path / f"{split}.values.npy") == sha256(folder / f"raw/{split}.values.npy")


def test_stored_sets_differ_from_each_other_and_from_the_stream(built):
    kind, folder, _, _ = built
    tokens = open_tokens(folder / "tokens")
    stored = {split: tokens.split(split)[:10] for split, (_, length) in splits_of(kind).items() if length == splits_of(kind)["test"][1]}
    drawn = [arrays(kind, task(kind).stream(config(kind), seed, 64)(step))[0] for seed in range(3) for step in range(30)]
    starts = [ids[:10].astype(int).tolist() for ids in drawn if ids.shape[1] == tokens.split("test").shape[1] and len(ids) >= 10]
    assert starts
    found = [rows.astype(int).tolist() for rows in stored.values()] + starts
    assert len({str(rows) for rows in found}) == len(found)
