"""Configuration, the stream of training batches, the stored sets and their token files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.files import sha256
from picollm.core.tokens import open_tokens
from picollm.tasks import numeric
from picollm.tasks.numeric.predictor import sequence_losses
from picollm.tasks.numeric.sets import load
from picollm.tasks.numeric.spec import FAMILIES, HELD_FAMILIES, WALK, specification

BASE = {"kind": "numeric", "spec": "classic", "train": 60, "validation": 20, "test": 30, "long": 10, "long_lengths": [16, 40]}
MODULAR = {**BASE, "spec": "modular", "heldout": 25}
SMALL_SPLITS = {"train": 60, "validation": 20, "test": 30, "heldout": 75, "length16": 10, "length40": 10}


def config(**changes):
    return parse(numeric.Config, {**BASE, **changes}, "tasks.t")


# --- configuration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "tasks.t.train: 0 sequences"),
        ({"spec": "hard"}, "tasks.t.spec: "),
        ({"holdout": 1.0}, "tasks.t.holdout: 1.0 is no share"),
        ({"holdout": -0.1}, "tasks.t.holdout: "),
        ({"heldout": 5}, "tasks.t.heldout: 5 sequences, but classic has too few cells"),
        ({"spec": "modular", "heldout": 5, "holdout": 0.0}, "tasks.t.heldout: 5 sequences, but a holdout of 0.0 leaves no cells"),
        ({"heldout": -1}, "tasks.t.heldout: -1"),
        ({"train_lengths": [8]}, "tasks.t.train_lengths: "),
        ({"train_lengths": [1, 8]}, "tasks.t.train_lengths: "),
        ({"train_lengths": [9, 8]}, "tasks.t.train_lengths: "),
        ({"long_lengths": [48, 32]}, "tasks.t.long_lengths: "),
        ({"long_lengths": [32, 32]}, "tasks.t.long_lengths: "),
        ({"long_lengths": [1]}, "tasks.t.long_lengths: "),
        ({"seed": -1}, "tasks.t.seed: -1"),
        ({"long": "5"}, "tasks.t.long: "),
        ({"length": 5}, "tasks.t.length: unknown parameter"),
    ],
)
def test_mistakes_in_the_configuration_are_named(changes, message):
    with pytest.raises(UserError) as error:
        config(**changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_the_configuration_survives_json():
    written = config(**MODULAR)
    assert parse(numeric.Config, json.loads(json.dumps(written.__dict__)), "x") == written


# --- the stream ---------------------------------------------------------------------------------------------------------


@given(step=st.integers(0, 10**12), seed=st.integers(0, 10**6), modular=st.booleans())
def test_a_batch_is_a_pure_function_of_seeds_and_step(step, seed, modular):
    made = config(**MODULAR) if modular else config()
    batch = numeric.stream(made, seed, 16)
    first = batch(step)
    batch(step + 1)
    assert np.array_equal(batch(step), first)
    assert np.array_equal(numeric.stream(made, seed, 16)(step), first)
    assert not np.array_equal(batch(step + 1), first)
    assert not np.array_equal(numeric.stream(made, seed + 1, 16)(step), first)
    assert first.dtype == np.int64
    length = first.shape[1]
    assert 8 <= length <= 32
    assert abs(first.size - len(first) - 16 * 19) <= (length - 1) / 2  # scored terms of 16 sequences of mean length 20, up to half a row


def test_the_task_seed_changes_the_stream():
    assert not np.array_equal(numeric.stream(config(), 0, 16)(0), numeric.stream(config(seed=1), 0, 16)(0))


def test_a_scored_term_is_as_likely_as_with_uniform_lengths_and_nothing_is_padding():
    batch = numeric.stream(config(), 0, 32)
    terms = np.zeros(33)  # scored, by the length of their sequence
    for step in range(4000):
        ids = batch(step)
        assert ids.max() < 127
        terms[ids.shape[1]] += ids.size - len(ids)
    lengths = np.arange(8, 33)
    expected = (lengths - 1) / (lengths - 1).sum()
    assert terms[8:] / terms.sum() == pytest.approx(expected, abs=0.012)  # 3.8 standard deviations of the likeliest


def test_the_stream_draws_training_cells_only_and_all_families():
    spec = specification("modular", 0.15, 32)
    found = [cells_of(numeric.stream(config(**MODULAR), 3, 5000)(step), spec) for step in range(4)]
    cells, families = (np.concatenate(part) for part in zip(*found, strict=True))
    assert not spec.held[cells[cells >= 0]].any()
    assert np.bincount(families, minlength=5) / len(families) == pytest.approx([0.2] * 5, abs=0.015)
    drawn = len(np.unique(cells[families == 0]))
    assert drawn == 127  # every count occurs


def cells_of(ids, spec):
    """The cell of each row, -1 for a walk, and its family; found from the rows alone."""
    lengths = (ids != 127).sum(1)
    cells, families = np.full(len(ids), -1), np.full(len(ids), WALK)
    for f in range(4):
        found = spec.index[f, ids[:, 0], ids[:, 1]]
        same = (spec.table[found, : ids.shape[1]] == ids) | (np.arange(ids.shape[1]) >= lengths[:, None])
        hit = (found >= 0) & same.all(1)
        cells[hit], families[hit] = found[hit], f
    return cells, families


# --- stored sets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modular(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modular")
    made = config(**MODULAR)
    return folder, numeric.generate(made, folder / "raw"), numeric.tokenize(made, folder / "raw", folder / "tokens")


def test_generated_sets_have_their_sizes_shapes_and_types(modular):
    folder, metrics, _ = modular
    assert {split: entry["sequences"] for split, entry in metrics["splits"].items()} == SMALL_SPLITS
    for split, n in SMALL_SPLITS.items():
        L = int(split.removeprefix("length")) if split.startswith("length") else 32
        arrays = {name: load(folder / "raw", split, name) for name in ("values", "family", "length", "floor")}
        assert [array.dtype for array in arrays.values()] == [np.int16, np.uint8, np.uint16, np.float32]
        assert [array.shape for array in arrays.values()] == [(n, L), (n,), (n,), (n, L)]
        inside = np.arange(L) < arrays["length"][:, None]
        assert ((arrays["values"] >= 0) == inside).all()
        assert (np.isnan(arrays["floor"]) == ~(inside & (np.arange(L) > 0))).all()
        assert np.isfinite(arrays["floor"][inside & (np.arange(L) > 0)]).all()
        assert metrics["splits"][split]["terms"] == inside.sum()
        assert metrics["splits"][split]["scored"] == inside.sum() - n


def test_held_out_cells_are_in_the_held_out_set_and_nowhere_else(modular):
    folder, _, _ = modular
    spec = specification("modular", 0.15, 40)
    for split in SMALL_SPLITS:
        values, family = load(folder / "raw", split, "values"), load(folder / "raw", split, "family")
        cells, found = cells_of(np.where(values < 0, 127, values), spec)
        assert (found == family).all()
        assert (spec.held[cells[cells >= 0]] == (split == "heldout")).all()
    family = load(folder / "raw", "heldout", "family")
    assert {FAMILIES[f]: n for f, n in enumerate(np.bincount(family)) if n} == dict.fromkeys(HELD_FAMILIES, 25)


def test_stored_floors_follow_the_prior_that_the_facts_name(modular):
    folder, _, _ = modular
    facts = json.loads((folder / "raw" / "facts.json").read_text())
    assert {split: fact["prior"] for split, fact in facts["splits"].items()} == {split: "full" if split == "heldout" else "train" for split in SMALL_SPLITS}
    spec = specification("modular", facts["holdout"], 40)
    for split in ("test", "heldout"):
        losses = sequence_losses(spec, load(folder / "raw", split, "values"), load(folder / "raw", split, "length"), facts["splits"][split]["prior"])
        np.testing.assert_allclose(load(folder / "raw", split, "floor"), losses, rtol=1e-6)


def test_metrics_of_generation(modular):
    _, metrics, _ = modular
    assert metrics["cells"]["geometric"] == {"all": 15624, "heldout": 2343}
    assert metrics["floor"]["loss"] < metrics["floor_all_cells"]["loss"] == pytest.approx(0.5143, abs=5e-5)
    assert set(metrics["lengths"]) == {"16", "40"}
    assert metrics["identified_accuracy"]["arithmetic"] > 0.9999
    json.dumps(metrics, allow_nan=False)


def test_made_again_it_is_the_same_to_the_last_byte_and_another_seed_is_not(modular, tmp_path):
    folder, metrics, _ = modular
    assert numeric.generate(config(**MODULAR), tmp_path / "again") == metrics
    files = sorted(path.name for path in (folder / "raw").iterdir())
    assert len(files) == 4 * len(SMALL_SPLITS) + 1
    assert [sha256(folder / "raw" / name) for name in files] == [sha256(tmp_path / "again" / name) for name in files]
    numeric.generate(config(**{**MODULAR, "seed": 1}), tmp_path / "other")
    assert sha256(tmp_path / "other" / "test.values.npy") != sha256(folder / "raw" / "test.values.npy")


def test_one_more_length_leaves_the_other_sets_alone(modular, tmp_path):
    folder, _, _ = modular
    numeric.generate(config(**{**MODULAR, "long_lengths": [16, 20, 40]}), tmp_path)
    for split in SMALL_SPLITS:
        assert sha256(tmp_path / f"{split}.floor.npy") == sha256(folder / "raw" / f"{split}.floor.npy")


def test_tokens_are_the_values_and_the_pad(modular):
    folder, _, metrics = modular
    tokens = open_tokens(folder / "tokens")
    assert tokens.vocab_size == 128
    assert tokens.header["tokenizer"] == {"kind": "integers", "pad": 127}
    assert parse(numeric.Config, tokens.header["stream"], "header") == config(**MODULAR)
    for split, n in SMALL_SPLITS.items():
        ids, values = tokens.split(split), load(folder / "raw", split, "values")
        assert (ids == np.where(values < 0, 127, values)).all()
        assert metrics[split]["rows"] == n == tokens.header["splits"][split]["rows"]


def test_rows_are_as_long_as_the_longest_training_length_even_when_no_sequence_is(tmp_path):
    numeric.generate(config(train=1, validation=1, test=1), tmp_path)
    assert load(tmp_path, "test", "values").shape == (1, 32)


def test_classic_has_no_held_out_set_and_short_lengths_no_identified_terms(tmp_path):
    metrics = numeric.generate(config(train_lengths=[2, 3]), tmp_path)
    assert "heldout" not in metrics["splits"]
    assert "floor_all_cells" not in metrics
    assert "identified_accuracy" not in metrics


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"test\.values\.npy: no such file; run the stage"):
        load(tmp_path, "test", "values")
    (tmp_path / "test.values.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"test\.values\.npy: is damaged"):
        load(tmp_path, "test", "values")
