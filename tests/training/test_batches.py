"""Batches: functions of the step alone, every row once an epoch, padding never scored."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.core import registry
from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.training import batches
from picollm.training.batches import IGNORED, Rows, epochs_of, from_rows, random_windows, windows_at
from picollm.training.recipe import Recipe

PAD = 99
EXAMPLES = settings(max_examples=40)


def numbered(n, length=3):
    """Rows that can be told apart by their first id."""
    return np.stack([np.arange(n), *[np.full(n, 7)] * (length - 1)], 1).astype(np.uint16)


def same(a, b):
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


@EXAMPLES
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_padding_is_never_scored(lengths):
    rows = np.full((len(lengths), 8), PAD)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = np.arange(length)
    batch = from_rows(rows, PAD)
    assert batch.inputs.shape == batch.targets.shape == (len(lengths), 7)
    assert batch.tokens == sum(length - 1 for length in lengths)
    assert (batch.targets != PAD).all()
    scored = batch.targets != IGNORED
    assert torch.equal(batch.targets[scored], batch.inputs[scored] + 1)


def test_a_wrong_answer_in_the_padding_costs_nothing():
    batch = from_rows(np.array([[1, 2, 3, PAD, PAD], [4, 5, 6, 7, 8]]), PAD)
    logits = torch.randn(2, 4, 100)
    changed = logits.clone()
    changed[0, 2:] = torch.randn(2, 100)
    losses = [torch.nn.functional.cross_entropy(x.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED) for x in (logits, changed)]
    assert torch.equal(*losses)


@EXAMPLES
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_targets_of_a_tasks_own_stand_where_they_are_and_their_pad_is_never_scored(lengths):
    ids, targets = np.full((2, len(lengths), 8), PAD)
    for row, target, length in zip(ids, targets, lengths, strict=True):
        row[:length], target[:length:2] = np.arange(length), 50 + np.arange(length)[::2]
    batch = from_rows(ids, PAD, targets)
    assert torch.equal(batch.inputs, torch.from_numpy(ids))
    assert batch.inputs.shape == batch.targets.shape
    assert batch.tokens == sum(-(-length // 2) for length in lengths)
    scored = batch.targets != IGNORED
    assert (batch.targets != PAD).all()
    assert torch.equal(batch.targets[scored], batch.inputs[scored] + 50)


@EXAMPLES
@given(n=st.integers(1, 50), size=st.integers(1, 20), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_an_epoch_has_every_row_once(n, size, seed, epoch):
    feed, steps = epochs_of(Rows(numbered(n), PAD), size, seed), -(-n // size)
    seen = [feed(epoch * steps + step).inputs[:, 0] for step in range(steps)]
    assert sorted(torch.cat(seen).tolist()) == list(range(n))
    assert {len(part) for part in seen[:-1]} <= {size}


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    def order(seed, epoch):
        feed = epochs_of(Rows(numbered(100), PAD), 10, seed)
        return torch.cat([feed(10 * epoch + step).inputs[:, 0] for step in range(10)]).tolist()

    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(3)}) == 6


def feeds(seed=0):
    return {
        "epochs": epochs_of(Rows(numbered(23), PAD), 5, seed),
        "windows": random_windows(np.arange(500) % 90, 8, 5, seed),
    }


@pytest.mark.parametrize("name", ["epochs", "windows"])
@EXAMPLES
@given(steps=st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_a_batch_depends_on_the_step_and_on_nothing_that_came_before(name, steps):
    """Asked for in any order, and with other random numbers drawn in between."""
    feed = feeds()[name]
    for step in steps:
        np.random.seed(step)
        torch.manual_seed(step)
        assert same(feed(step), feeds()[name](step))


def test_another_seed_or_step_has_other_windows():
    feed, other = feeds()["windows"], feeds(1)["windows"]
    assert not same(feed(0), feed(1))
    assert not same(feed(0), other(0))


@EXAMPLES
@given(context=st.integers(1, 20), more=st.integers(1, 30), step=st.integers(0, 50))
def test_windows_lie_in_the_stream_and_targets_are_one_later(context, more, step):
    stream = np.arange(context + more)
    batch = random_windows(stream, context, 16, 0)(step)
    assert batch.inputs.shape == (16, context)
    assert torch.equal(batch.targets, batch.inputs + 1)
    assert batch.tokens == 16 * context


def test_every_window_of_a_stream_can_be_drawn():
    feed = random_windows(np.arange(12), 8, 64, 0)
    assert set(feed(0).inputs[:, 0].tolist()) == {0, 1, 2, 3}
    assert windows_at(np.arange(12), np.array([3]), 8).targets[0, -1] == 11


@pytest.fixture
def rows(tmp_path):
    data = {"train": numbered(10), "validation": numbered(600), "empty": numbered(0)}
    splits = {name: write_split(tmp_path / "rows", name, [ids], 1000, row_length=3) for name, ids in data.items()}
    write_header(tmp_path / "rows", kind="numeric", vocab_size=1000, tokenizer={"kind": "integers", "pad": PAD}, splits=splits)
    return open_tokens(tmp_path / "rows")


@pytest.fixture
def text(tmp_path):
    splits = {name: write_split(tmp_path / "text", name, [np.arange(size)], 1000) for name, size in (("train", 200), ("validation", 101))}
    write_header(tmp_path / "text", kind="text", vocab_size=1000, tokenizer={"kind": "chars"}, splits=splits)
    return open_tokens(tmp_path / "text")


@pytest.fixture(params=["parity", "recall", "urn"])
def task(request, tmp_path):
    """A task as the stages leave it, and whether its targets are its own."""
    module = registry.load("tasks", request.param, "kind")
    config = module.Config(kind=request.param, train=30, validation=300, test=2, long=2, long_lengths=[])
    module.generate(config, tmp_path / "raw")
    module.tokenize(config, tmp_path / "raw", tmp_path / "tokens")
    return open_tokens(tmp_path / "tokens"), module.stream(config, 3, 16), config


def follows(ids, targets, config):
    """Each target is what the task says it is, given the ids up to it."""
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        for t, target in enumerate(wanted):
            if target == IGNORED:
                continue
            if config.kind == "parity":
                assert target == sum(row[: t + 1]) % 2
            elif config.kind == "recall":
                assert target == row[row.index(row[t]) + 1]
            else:
                assert (target - row[t] + 1) % config.values in range(4)
                assert row[t + 1 : t + 2] in ([], [target])


def test_a_stream_and_the_stored_rows_of_a_task_give_the_targets_it_means(task):
    tokens, stream, config = task
    feed, steps = batches.training(tokens, Recipe(steps=5, batch_size=16), seed=3)
    assert steps == 5
    drawn = stream(4)
    expected = from_rows(drawn, config.pad) if config.kind == "urn" else from_rows(drawn[0], config.pad, drawn[1])
    assert same(feed(4), expected)
    follows(*feed(4), config)
    assert config.kind == "recall" or (feed(4).targets != IGNORED).all()  # no padding
    fixed, steps = batches.training(tokens, Recipe(epochs=2, data="fixed", batch_size=8), seed=3)
    assert steps == 8
    seen = [fixed(step) for step in range(4)]
    for batch in seen:
        follows(*batch, config)
    stored = tokens.split("train.targets") if config.own_targets else tokens.split("train")[:, 1:]
    assert sum(batch.tokens for batch in seen) == (stored != config.pad).sum()
    held = batches.validation(tokens, Recipe(steps=1))
    assert [len(batch.inputs) for batch in held] == [150, 150]
    for batch in held:
        follows(*batch, config)


def test_epochs_are_counted_in_steps(rows):
    _, steps = batches.training(rows, Recipe(epochs=3, data="fixed", batch_size=4), seed=0)
    assert steps == 9


def test_validation_is_the_same_every_time_and_scores_every_row(rows, text):
    for tokens, recipe in ((rows, Recipe(steps=1)), (text, Recipe(steps=1, context=10, batch_size=4))):
        once, again = (batches.validation(tokens, recipe) for _ in range(2))
        assert len(once) == len(again) > 1
        assert all(same(a, b) for a, b in zip(once, again, strict=True))
    assert sum(batch.tokens for batch in once) == 100  # ten windows of ten, end to end
    assert torch.cat([batch.inputs for batch in once])[:, 0].tolist() == list(range(0, 100, 10))
    assert sum(batch.tokens for batch in batches.validation(rows, Recipe(steps=1))) == 1200
    assert sum(batch.tokens for batch in batches.validation(rows, Recipe(steps=1), most=7)) == 14


def test_a_corpus_shorter_than_a_context_is_a_user_error(text):
    for call in (lambda recipe: batches.training(text, recipe, 0), lambda recipe: batches.validation(text, recipe)):
        with pytest.raises(UserError, match=r"fewer than one context of 200 .* shorten training\.context"):
            call(Recipe(steps=1, context=200))


@EXAMPLES
@given(tokens=st.integers(9, 60), context=st.integers(1, 8), size=st.integers(1, 7), epoch=st.integers(0, 2))
def test_an_epoch_of_a_text_predicts_every_token_but_the_first(tokens, context, size, epoch):
    windows = batches.Windows(np.arange(tokens), context)
    feed, steps = epochs_of(windows, size, 0), -(-len(windows) // size)
    seen = torch.cat([feed(epoch * steps + step).targets for step in range(steps)])
    assert seen.shape == (len(windows), context)
    assert sorted(set(seen.flatten().tolist())) == list(range(1, tokens))
    assert seen.numel() - (tokens - 1) < context  # the last window alone may overlap


def test_epochs_of_a_text_are_counted_and_cut_in_steps(text):
    for recipe, expected in (
        (Recipe(epochs=3, data="fixed", context=10, batch_size=4), 15),
        (Recipe(epochs=3, data="fixed", context=10, batch_size=4, max_steps_per_epoch=2), 6),
        (Recipe(epochs=3, data="fixed", context=10, batch_size=4, max_steps_per_epoch=99), 15),
        (Recipe(steps=7, data="fixed", context=10, batch_size=4), 7),
    ):
        feed, steps = batches.training(text, recipe, 0)
        assert steps == expected
        assert not same(feed(0), feed(2))
    feed, _ = batches.training(text, Recipe(epochs=2, data="fixed", context=10, batch_size=4, max_steps_per_epoch=2), 0)
    assert set(feed(0).inputs[:, 0].tolist()) != set(feed(2).inputs[:, 0].tolist())  # the next epoch begins in a new order


def documents(path, counts, weights=None):
    """Document n of a source is n + 1 twice, and its end; sources have 100 ids each."""
    splits, streams = {}, {}
    for split in ("train", "validation"):
        entry = {"documents": sum(counts.values()), "whole": True, "sources": []}
        stream = [0]
        for number, (name, count) in enumerate(counts.items()):
            begin = len(stream) - 1
            for n in range(count):
                stream += [100 * number + n + 1] * 2 + [0]
            entry["sources"].append({"name": name, "start": begin, "end": len(stream), "documents": count, "weight": (weights or {}).get(name)})
        if weights is None:
            del entry["sources"]
        streams[split] = stream
        splits[split] = write_split(path, split, [np.array(stream)], 1000) | entry
    write_header(path, kind="text", vocab_size=1000, tokenizer={"kind": "chars"}, splits=splits, end=0)
    return open_tokens(path)


def test_examples_are_whole_documents_and_fewer_are_among_more(tmp_path):
    tokens = documents(tmp_path, {"": 40})
    seen = []
    for count in (5, 20, 40):
        feed, steps = batches.training(tokens, Recipe(epochs=1, data="fixed", context=3, batch_size=1, examples=count), seed=count)
        ids = torch.stack([feed(step).targets[0] for step in range(steps)])
        assert steps == count
        assert (ids[:, 0] == ids[:, 1]).all()
        assert (ids[:, 2] == 0).all()
        seen.append(set(ids[:, 0].tolist()))
    assert [len(some) for some in seen] == [5, 20, 40]
    assert seen[0] < seen[1] < seen[2]
    with pytest.raises(UserError, match=r"^training\.examples: 41, but the training split has 40; lower it"):
        batches.training(tokens, Recipe(epochs=1, data="fixed", context=3, examples=41), 0)
    tokens.header["splits"]["train"]["whole"] = False
    with pytest.raises(UserError, match=r"^training\.examples: a single file is one document; set lines: true"):
        batches.training(tokens, Recipe(epochs=1, data="fixed", context=3, examples=2), 0)


def test_examples_of_stored_rows_are_the_first(rows):
    feed, steps = batches.training(rows, Recipe(epochs=1, data="fixed", batch_size=8, examples=6), 0)
    assert steps == 1
    assert feed(0).inputs[:, 0].tolist() == list(range(6))
    with pytest.raises(UserError, match=r"^training\.examples: 11, but the training split has 10"):
        batches.training(rows, Recipe(epochs=1, data="fixed", examples=11), 0)


def test_a_mixture_is_drawn_in_proportion_in_every_batch(tmp_path):
    tokens = documents(tmp_path, {"a": 40, "b": 10, "c": 30}, {"a": 0.75, "b": 0.25, "c": 0.0})
    feed, _ = batches.training(tokens, Recipe(steps=400, context=6, batch_size=10), 1)
    shares = []
    for step in range(400):
        batch = feed(step)
        assert same(batch, feed(step))
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        owners = batch.inputs.max(1).values // 100
        assert not (owners == 2).any()  # measured, and never trained on
        shares.append((owners == 1).double().mean().item())
    assert set(np.round(shares, 6)) == {0.2, 0.3}
    assert np.mean(shares) == pytest.approx(0.25, abs=0.01)
    drawn = batches.realised(tokens.weights, 10, 1, 400)
    assert list(drawn) == ["a", "b", "c"]
    assert drawn["b"] == pytest.approx(np.mean(shares))
    assert drawn["c"] == 0
    held = batches.validation(tokens, Recipe(steps=1, context=6, batch_size=10))
    counts = np.bincount(torch.cat([batch.inputs.max(1).values // 100 for batch in held]).numpy(), minlength=3)
    assert counts.tolist() == [15, 5, 0]


def test_other_weights_are_other_data(tmp_path):
    folders = [documents(tmp_path / str(weight), {"a": 9, "b": 9}, {"a": weight, "b": 1 - weight}) for weight in (0.5, 0.25)]
    assert folders[0].digest != folders[1].digest


def test_an_epoch_of_a_mixture_is_as_many_windows_as_it_has(tmp_path):
    tokens = documents(tmp_path, {"a": 40, "b": 10}, {"a": 0.5, "b": 0.5})
    assert batches.training(tokens, Recipe(epochs=2, data="fixed", context=6, batch_size=5), 0)[1] == 10
    assert batches.training(tokens, Recipe(epochs=2, data="fixed", context=6, batch_size=5, max_steps_per_epoch=3), 0)[1] == 6
    assert batches.training(tokens, Recipe(epochs=1, data="fixed", context=6, batch_size=5, examples=8), 0)[1] == 2
    with pytest.raises(UserError, match="the train split of b has 31 tokens, fewer than one context of 31"):
        batches.training(tokens, Recipe(steps=1, context=31), 0)


def test_a_split_without_sequences_is_a_user_error(rows):
    for split in ("train", "validation"):
        rows.header["splits"][split] = rows.header["splits"]["empty"]
        (rows.folder / f"{split}.bin").write_bytes(b"")
    with pytest.raises(UserError, match="the train split has no sequences"):
        batches.training(rows, Recipe(epochs=1, data="fixed"), 0)
    with pytest.raises(UserError, match="the validation split has no sequences"):
        batches.validation(rows, Recipe(steps=1))
