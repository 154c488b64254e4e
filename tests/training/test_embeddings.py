"""Starting from another run's embeddings: the numbers named, and no others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from picollm import load, models
from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.training.checkpoints import save_model
from picollm.training.embeddings import digest, start_from
from picollm.training.recipe import Recipe, Run
from picollm.training.seeds import train_seed

V, D = 11, 16
PATH = "runs.a.training.init_embedding_from"
TOKENIZER = {"kind": "integers", "pad": 10}
DONOR = {"kind": "lstm", "d_model": D}


def build(block=None, seed=0, vocab_size=V):
    torch.manual_seed(seed)
    return models.build(block or {"kind": "transformer", "d_model": D, "n_head": 2, "n_layer": 1}, vocab_size, "model")


@pytest.fixture
def donor(tmp_path):
    model = build(DONOR, seed=1)
    save_model(tmp_path, model, {"model": DONOR, "tokenizer": TOKENIZER})
    return model.embed.weight.detach(), f"{tmp_path}@{digest(model.embed.weight)}"


@pytest.mark.parametrize("tied", [True, False])
def test_the_embeddings_become_those_of_the_other_run_and_nothing_else_changes(donor, tied):
    table, reference = donor
    block = {"kind": "transformer", "d_model": D, "n_head": 2, "n_layer": 1, "tie_embeddings": tied}
    model, plain = build(block), build(block)
    start_from(model, reference, TOKENIZER, PATH)
    assert torch.equal(model.embed.weight, table)
    assert (model.head.weight is model.embed.weight) == tied
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, plain.get_parameter(name))}
    assert changed == {"embed.weight"}


def test_without_a_digest_the_message_says_what_to_write(donor):
    _, reference = donor
    folder = reference.rpartition("@")[0]
    with pytest.raises(UserError) as caught:
        start_from(build(), folder, TOKENIZER, PATH)
    assert str(caught.value) == f"{PATH}: {folder} gives no digest; if those it has now are meant, write {reference}"


@pytest.mark.parametrize(
    ("block", "vocab_size", "message"),
    [
        ({"kind": "lstm", "d_model": 8}, V, f"has embeddings of width {D}, this model of 8; make them alike"),
        (DONOR, 12, f"has embeddings of vocabulary {V}, this model of 12; make them alike"),
    ],
)
def test_other_sizes_are_refused(donor, block, vocab_size, message):
    with pytest.raises(UserError, match=message):
        start_from(build(block, vocab_size=vocab_size), donor[1], TOKENIZER, PATH)


def test_another_tokenizer_other_numbers_or_no_checkpoint_are_refused(donor, tmp_path):
    _, reference = donor
    with pytest.raises(UserError, match="was trained with another tokenizer"):
        start_from(build(), reference, {"kind": "integers", "pad": 9}, PATH)
    with pytest.raises(UserError, match=rf"^{PATH}: .* has other embeddings than those of 0{{12}}; if .* write {reference}$"):
        start_from(build(), reference[:-12] + 12 * "0", TOKENIZER, PATH)
    with pytest.raises(UserError, match=rf"^{PATH}: .*nowhere: no such checkpoint folder"):
        start_from(build(), str(tmp_path / "nowhere"), TOKENIZER, PATH)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=rf"^{PATH}: .*model.safetensors cannot be read"):
        start_from(build(), reference, TOKENIZER, PATH)


def test_a_model_without_a_table_is_refused(donor):
    model = build()
    model.embed = torch.nn.Linear(V, D)
    with pytest.raises(UserError, match=f"^{PATH}: this model has no table of token embeddings"):
        start_from(model, donor[1], TOKENIZER, PATH)


def test_the_digest_knows_shape_and_numbers():
    table = torch.arange(6.0)
    assert digest(table.view(2, 3)) == digest(table.view(2, 3).clone())
    assert len({digest(table.view(2, 3)), digest(table.view(3, 2)), digest(table.view(2, 3) + 1e-6)}) == 3


def test_a_training_starts_from_them(donor, tmp_path):
    table, reference = donor
    rows = np.random.default_rng(0).integers(0, V - 1, (8, 6))
    folder = tmp_path / "tokens"
    splits = {name: write_split(folder, name, [rows.astype(np.uint16)], V, 6) for name in ("train", "validation")}
    write_header(folder, kind="numeric", vocab_size=V, tokenizer=TOKENIZER, splits=splits)
    block = {"kind": "transformer", "d_model": D, "n_head": 2, "n_layer": 1}
    recipe = Recipe(epochs=1, data="fixed", lr=1e-9, log_every=1, validate_every=1, init_embedding_from=reference)
    run = Run("t", 1, recipe, block)
    train_seed(run, "a", open_tokens(folder), 0, "mark", torch.device("cpu"), tmp_path / "work", lambda rows: None)
    torch.testing.assert_close(load(tmp_path / "work/checkpoint").embed.weight.detach(), table, atol=1e-6, rtol=0)
    wrong = replace(run, training=replace(recipe, init_embedding_from=str(tmp_path)))
    with pytest.raises(UserError, match=f"^{PATH}: .* gives no digest"):
        train_seed(wrong, "a", open_tokens(folder), 0, "mark", torch.device("cpu"), tmp_path / "other", lambda rows: None)
