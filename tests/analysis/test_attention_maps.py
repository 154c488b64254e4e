"""Uniform attention gives the analytic numbers; planted heads are found where they were planted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from picollm.analysis import _probes
from picollm.analysis._drawing import LONGEST, label
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.attention_maps import analyse, measures, uniform


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


@given(st.integers(2, 40))
def test_uniform_attention_in_closed_form(T: int) -> None:
    harmonic = sum(1 / i for i in range(1, T + 1))
    found = measures(uniform(T))
    assert np.isclose(found["distance"], T / 4)
    for name in ("previous", "first", "self"):
        assert np.isclose(found[name], (harmonic - 1) / (T - 1))


def test_measures_of_pure_heads() -> None:
    T = 7
    to_first, to_previous, to_itself = np.zeros((3, T, T))
    to_first[:, 0] = 1
    to_previous[0, 0] = to_previous[range(1, T), range(T - 1)] = 1
    to_itself[range(T), range(T)] = 1
    found = measures(np.stack([to_first, to_previous, to_itself]))
    assert found["first"].tolist() == pytest.approx([1, 1 / 6, 0])  # the second token's previous one is the first
    assert found["previous"].tolist() == pytest.approx([1 / 6, 1, 0])
    assert found["self"].tolist() == [0, 0, 1]
    assert found["distance"].tolist() == [3.5, 1, 0]


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_a_model_with_equal_scores_is_uniform(make: Callable[..., Subject], silence: Callable[[Subject], None], kernel: str) -> None:
    subject = make(attention=kernel)
    silence(subject)
    result = analysed(subject)
    for name in ("distance", "previous", "first", "self"):
        for key in (f"arithmetic.{name}", f"arithmetic.{name}.highest"):
            found = result.metrics[key]
            assert found["value"] == pytest.approx(found["uniform"], rel=1e-4)
            assert found["low"] == pytest.approx(found["high"], rel=1e-4)
    assert np.allclose(result.arrays[""]["alternating"], uniform(12), atol=1e-5)


def test_planted_head_stands_out(make: Callable[..., Subject]) -> None:
    """Head 1 of layer 1 asks for what lies opposite to every token's own key, hence anything but itself."""
    subject = make(positions="none")
    attention = subject.model.blocks[1].attention
    with torch.no_grad():
        q, k, _ = attention.qkv.weight.view(3, 2, 16, 32)
        q[1] = k[1] = 0
        q[1, :16, :16] = k[1, :16, :16] = 2 * torch.eye(16)
    found = analysed(subject).metrics["arithmetic.self.highest"]
    assert (found["layer"], found["head"]) == (1, 1)
    assert found["value"] > found["untrained_high"]
    assert found["low"] > found["uniform"]


def test_sequences_are_different_and_counted(make: Callable[..., Subject]) -> None:
    result = analysed(make(options={"sequence_types": ["counting", "geometric"]}))
    assert result.metrics["counting.first"]["n"] == 4  # all that classic has
    assert result.metrics["geometric.first"]["n"] == 6
    assert {row["n"] for row in result.tables[""]} == {4, 6}


def test_every_head_is_in_the_table(make: Callable[..., Subject]) -> None:
    result = analysed(make(n_layer=3, n_head=4))
    assert len(result.tables[""]) == 2 * 4 * 3 * 4
    assert result.arrays[""]["arithmetic"].shape == (3, 4, 12, 12)
    mean = np.mean([row["value"] for row in result.tables[""] if row["sequences"] == "arithmetic" and row["measure"] == "self"])
    assert result.metrics["arithmetic.self"]["value"] == pytest.approx(mean, rel=1e-5)


def test_enough_untrained_models_give_a_p(make: Callable[..., Subject]) -> None:
    found = analysed(make(options={"sequence_types": ["walk"], "untrained": 19}, n_layer=1)).metrics["walk.first"]
    assert 1 / 20 <= found["untrained_p"] <= 1
    assert "untrained_p" not in analysed(make(options={"sequence_types": ["walk"], "untrained": 18}, n_layer=1)).metrics["walk.first"]


def test_longer_sequences_come_from_the_longer_sets(make: Callable[..., Subject]) -> None:
    assert analysed(make(options={"length": 40})).arrays[""]["arithmetic"].shape[-1] == 40
    with pytest.raises(ValueError, match=r"^interpret.length: 49 terms, the longest stored sequences have 48; lower it$"):
        analyse(make(options={"length": 49}))
    with pytest.raises(ValueError, match=r"^interpret.length: 12 tokens, the model's table of positions ends at 8; shorten it$"):
        analyse(make(positions="learned", block_size=8))


def test_text_shows_the_prompt_and_measures_the_test_split(make: Callable[..., Subject]) -> None:
    result = analysed(make("text", {"prompt": "the cat"}))
    assert list(result.figures) == ["text"]
    assert result.metrics["text.first"]["n"] == 64
    labels = [text.get_text() for axes in result.figures["text"].axes for text in axes.get_xticklabels()]
    assert labels[: len(labels) // 2] == ["<|endoftext|>", *"the\u00b7cat"]
    with pytest.raises(ValueError, match=r"^interpret.prompt: chars knows only .* which has no 'T'"):
        analyse(make("text", {"prompt": "The cat"}))
    with pytest.raises(ValueError, match=r"^interpret.prompt: 8 tokens, the model's table of positions ends at 7; shorten it$"):
        analyse(make("text", {"prompt": "the cat", "length": 5}, positions="learned", block_size=7))


def test_a_prompt_follows_an_end_token_only_where_documents_do(make: Callable[..., Subject]) -> None:
    subject = make("text", {"prompt": "the cat"})
    with_end = _probes.prompt(subject)
    subject.tokens.header["splits"]["train"]["whole"] = False
    assert _probes.prompt(subject).tolist() == with_end[1:].tolist()


def test_model_without_attention_is_skipped(make: Callable[..., Subject]) -> None:
    assert analyse(make(kind="lstm")) == Skip("lstm has no attention, and no taps inside its layers")


def test_labels_survive_any_token() -> None:
    assert label(" a\n") == "\u00b7a\u21b5"
    assert label("$x$") == r"\$x\$"
    assert label("\u65e5") == label("\x00") == "\ufffd"
    assert len(label("b" * 50)) == LONGEST
