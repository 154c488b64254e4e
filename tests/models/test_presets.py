"""Presets: a block is a size with some of its parameters set; the full sizes have the public models' numbers of parameters."""

import pytest
import torch

from picollm import models
from picollm.core.errors import UserError
from picollm.study import Study


def test_a_size_is_overlaid_with_what_the_block_says():
    tiny = models.configure({"kind": "gpt2", "size": "tiny"}, "m")
    other = models.configure({"kind": "gpt2", "size": "tiny", "d_model": 32, "tie_embeddings": False}, "m")
    assert (tiny.d_model, other.d_model, other.n_layer, other.positions) == (64, 32, tiny.n_layer, "learned")
    assert tiny.tie_embeddings
    assert not other.tie_embeddings


def test_without_a_size_the_first_is_meant_and_numbers_may_name_one():
    assert models.configure({"kind": "gpt2"}, "m") == models.configure({"kind": "gpt2", "size": "small"}, "m")
    assert models.configure({"kind": "pico", "size": 128}, "m").d_model == 128


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "gpt2", "size": "tinny"}, r"^runs\.a\.model\.size: unknown 'tinny' \(did you mean 'tiny'\? known: full, small, tiny\)$"),
        ({"kind": "gpt2", "size": None}, r"^runs\.a\.model\.size: unknown 'None'"),
        ({"kind": "gpt3"}, r"^runs\.a\.model\.kind: unknown 'gpt3' \(did you mean 'gpt2'\?"),
        ({"kind": "gpt2", "size": "tiny", "n_head": 3}, r"^runs\.a\.model\.n_head: 3 does not divide d_model 64"),
        ({"kind": "gpt2", "n_layer": 12}, r"^runs\.a\.model\.n_layer: 12 blocks are more than 10"),
        ({"kind": "transformer", "size": "tiny"}, r"^runs\.a\.model\.size: unknown parameter"),
        ({"kind": "lstm", "size": "tiny"}, r"^runs\.a\.model\.size: unknown parameter"),
    ],
    ids=str,
)
def test_a_mistake_is_named_by_its_path(block, message):
    with pytest.raises(UserError, match=message):
        models.configure(block, "runs.a.model")
    params = {"tasks": {"t": {"kind": "numeric", "spec": "classic"}}, "runs": {"a": {"task": "t", "seeds": 1, "model": block, "training": {"steps": 1}}}}
    with pytest.raises(UserError, match=message):
        Study(params).run("a")


@pytest.mark.parametrize(
    ("block", "vocab_size", "parameters"),
    [
        ({"kind": "gpt2", "size": "full"}, 50_257, 124_439_808),
        ({"kind": "llama", "size": "full"}, 128_256, 8_030_261_248),  # Llama 3 8B
        # gpt-oss-20b has 20,914,757,184: with 31 experts more, and routers, in each of its 24 blocks
        ({"kind": "gpt_oss", "size": "full"}, 201_088, 20_914_757_184 - 24 * (31 * (3 * 2880 * 2880 + 3 * 2880) + 32 * (2880 + 1))),
    ],
)
def test_full_sizes_have_the_public_models_numbers_of_parameters(block, vocab_size, parameters):
    with torch.device("meta"):
        assert models.build(block, vocab_size, "m").n_parameters == parameters


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"kind": "mingpt"}, {"d_model": 384, "n_head": 6, "n_layer": 6, "inner_width": 1536, "positions": "learned", "tie_embeddings": True}),
        ({"kind": "gpt2"}, {"d_model": 768, "n_head": 12, "n_layer": 8, "inner_width": 3072, "norm": "layernorm", "tie_embeddings": True}),
        ({"kind": "gpt_oss"}, {"d_model": 512, "n_head": 8, "n_layer": 8, "inner_width": 2048, "positions": "rope", "activation": "swiglu"}),
        ({"kind": "llama"}, {"d_model": 1024, "n_head": 16, "n_layer": 8, "inner_width": 8192, "norm": "rmsnorm", "init": "xavier_uniform"}),
        ({"kind": "pico", "size": "1024"}, {"d_model": 1024, "n_head": 16, "n_layer": 8, "positions": "learned", "norm": "rmsnorm"}),
        ({"kind": "interp"}, {"d_model": 448, "n_head": 7, "n_layer": 8, "positions": "rope", "activation": "swiglu", "dropout": 0.1, "block_size": 512}),
    ],
    ids=str,
)
def test_the_sizes_of_the_course_projects_are_theirs(block, expected):
    config = models.configure(block, "m")
    assert {name: getattr(config, name) for name in expected} == expected
