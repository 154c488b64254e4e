"""`picollm.load` as people use it: what is said of a text is what the model says, and the floors are those of the stored sets."""

import doctest
import importlib
import math
import pkgutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch

import picollm
from picollm.core.errors import UserError
from picollm.generation.samples import continuations
from picollm.generation.sampling import Sampling
from picollm.loaded import floors
from picollm.loaded.explained import picture
from picollm.nn.taps import Recorder
from picollm.tasks._rows import load as stored
from picollm.tasks.text.fables import told
from picollm.training.checkpoints import load_model

TEXTS = {"classic_linear": "3 5 7 9 11", "walker": "3 4 5 4 6 6", "writer": "The hare", "teller": "The hound ran", "bytes": "é ran", "filter": "hill"}


def modules_with_examples():
    for info in pkgutil.walk_packages(picollm.__path__, "picollm."):
        path = info.module_finder.find_spec(info.name, None).origin
        with open(path, encoding="utf-8") as file:
            if ">>>" in file.read():
                yield info.name


@pytest.mark.parametrize("name", ["picollm", *modules_with_examples()])
def test_examples_in_docstrings_come_out(study, name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


def test_there_is_an_example_for_load_and_for_what_it_gives():
    assert "picollm.loaded.model" in set(modules_with_examples())


def test_importing_picollm_brings_no_torch():
    code = "import sys, picollm; print(sorted({'torch', 'numpy', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


NUMBERS = ("classic_linear", "walker")


@pytest.mark.parametrize("run", sorted(TEXTS))
def test_a_stream_is_the_generated_text_token_by_token(study, run):
    model = picollm.load(run)
    options = {"length": 25, "seed": 3, "temperature": 1.2, "top_p": 0.95}
    tokens = list(model.stream(TEXTS[run], **options))
    text = model.generate(TEXTS[run], **options)
    assert (" " if run in NUMBERS else "").join(token.text for token in tokens if not token.ends or token.text) == text
    assert 3 < len(tokens) <= 25
    for token in tokens:
        chances = [chance for _, chance in token.likeliest]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1 + 1e-9
        assert 0 < token.probability <= chances[0]
        assert token.bits == pytest.approx(-math.log2(token.probability))


@pytest.mark.parametrize("run", sorted(set(TEXTS) - {"bytes"}))  # which writes what is no text
def test_the_score_of_what_was_streamed_has_the_same_probabilities(study, run):
    model = picollm.load(run)
    tokens = list(model.stream(TEXTS[run], 12, seed=1))
    tokens = [token for token in tokens if not token.ends]
    score = model.score((" " if run in NUMBERS else "").join([TEXTS[run], *(token.text for token in tokens)]), end=False)
    for mine, again in zip(tokens, score.tokens[-len(tokens) :], strict=True):
        assert (mine.id, mine.text) == (again.id, again.text)
        assert mine.probability == pytest.approx(again.probability, rel=1e-3)
        assert mine.floor_bits == pytest.approx(again.floor_bits)


def test_generate_is_what_the_command_samples(study):
    model = picollm.load("teller")
    expected = continuations(load_model(study / "data/checkpoints/teller/seed0"), model.facts, "The", 9, Sampling(top_k=3), [4])
    assert [model.generate("The", 9, seed=4, top_k=3)] == expected


@pytest.mark.parametrize("run", ["classic_linear", "teller"])
def test_a_score_is_the_models_own_loss(study, run):
    model = picollm.load(run)
    score = model.score(TEXTS[run])
    coder_ids = [token.id for token in score.tokens]
    ids = torch.tensor([coder_ids if run == "classic_linear" else [model.vocab_size - 1, *coder_ids]])
    with torch.no_grad():
        loss = float(model.loss(ids[:, :-1], ids[:, 1:]))
    assert score.per_token == pytest.approx(loss, rel=1e-5)
    assert score.counted == ids.shape[1] - 1
    assert score.nats == pytest.approx(loss * score.counted, rel=1e-5)
    assert score.bits == pytest.approx(score.nats / math.log(2))
    if run == "teller":
        assert coder_ids[-1] == model.vocab_size - 1, "a whole document: its end is scored"
        assert score.bits_per_byte == pytest.approx(score.bits / len(TEXTS[run].encode()))
        assert model.score(TEXTS[run], end=False).counted == score.counted - 1


@pytest.mark.parametrize(("run", "task", "splits"), [("classic_linear", "classic", ("test", "length48")), ("walker", "urn", ("test", "length96"))])
def test_floors_are_those_of_the_stored_sets(study, run, task, splits):
    floor = floors.predictor(picollm.load(run).facts)
    for split in splits:
        for row, expected in zip(stored(study / "data/raw" / task, split, "values"), stored(study / "data/raw" / task, split, "floor"), strict=True):
            ids = row[row >= 0].tolist()
            assert floor(ids)[0] is None
            np.testing.assert_allclose(floor(ids)[1:], expected[1 : len(ids)] / np.log(2), rtol=1e-5, atol=1e-6)


def test_what_a_task_never_has_has_an_infinite_floor(study):
    model = picollm.load("classic_linear")
    assert [token.floor_bits for token in model.score("3 100 4").tokens] == [None, math.inf, math.inf]
    assert "not of this task" in repr(model.score("3 100 4"))
    walker = floors.predictor(picollm.load("walker").facts)
    assert walker([3, 5, 6]) == [None, 2.0, pytest.approx(-math.log2(1 / 5))], "four kinds of steps, then one urn with a ball of another kind more"
    assert walker([3, 9, 10])[1:] == [math.inf, math.inf]


def test_a_story_has_the_floor_of_its_grammar_and_a_beginning_has_none(study):
    facts = picollm.load("teller").facts
    (story,) = told("test", 0, 0, 1)
    assert floors.of_story(facts, story.text) == pytest.approx(story.bits)
    assert floors.of_story(facts, story.text[:-9]) is None
    assert floors.of_story({**facts, "task": "classic"}, story.text) is None


@pytest.mark.parametrize("run", ["classic_linear", "teller"])
def test_an_explanation_is_the_attention_that_was_applied(study, run):
    model = picollm.load(run)
    found = model.explain(TEXTS[run])
    ids = torch.tensor([[*([model.vocab_size - 1] if run == "teller" else []), *(token.id for token in model.score(TEXTS[run], end=False).tokens)]])
    recorder = Recorder()
    with torch.no_grad():
        model.model(ids, tap=recorder)
    L, H, T, _ = found.attention.shape
    assert found.attention.shape == (2, 4, ids.shape[1], ids.shape[1])
    assert len(found.tokens) == T
    for layer in range(L):
        kernel = model.attentions[layer].kernel
        applied = kernel.applied(torch.from_numpy(found.attention[layer])[None], recorder[f"{layer}.v"])
        torch.testing.assert_close(applied, recorder[f"{layer}.z"], rtol=1e-3, atol=1e-4)
    token, weight = found.looks(1, 2)[0]
    assert abs(weight) == pytest.approx(np.abs(found.attention[1, 2, -1]).max())
    assert token in found.tokens
    assert found._repr_html_().count("<img") == L * H


def test_an_adder_is_explained_on_a_sum(study):
    found = picollm.load("adder").explain("12+34")
    assert "".join(found.tokens) == "+21+43+640"
    assert found.attention.shape == (2, 4, 10, 10)


def test_a_picture_of_a_matrix_is_a_png_of_its_signs_and_sizes():
    data = picture(np.array([[1.0, 0.0], [-1.0, 0.5]]))
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (2, 2)
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[start - 8 : start - 4])
    lines = zlib.decompress(data[start : start + length])
    assert lines[1:7] == bytes([33, 102, 172, 255, 255, 255])
    assert lines[8:11] == bytes([178, 24, 43])
    assert lines[0] == lines[7] == 0


def test_a_notebook_shows_a_score_without_letting_its_text_in(study):
    model = picollm.load("bytes")
    shown = model.score("<b>&")._repr_html_()
    assert "<b>" not in shown
    assert "&lt;" in shown


def test_a_loaded_model_is_still_the_model(study):
    model = picollm.load("classic_linear", seed=1)
    assert model.folder.name == "seed1"
    assert model.n_parameters == load_model(model.folder).n_parameters
    torch.testing.assert_close(model(torch.tensor([[1, 2]])), model.model(torch.tensor([[1, 2]])))
    with pytest.raises(AttributeError):
        _ = model.no_such_thing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: picollm.load("clasic_linear"), "clasic_linear: no such run (did you mean 'classic_linear'? known: "),
        (lambda: picollm.load("classic_linear", seed=7), "data/checkpoints/classic_linear/seed7: no such model; the run has seed0, seed1"),
        (lambda: picollm.load("untrained"), "untrained: is not trained yet; run `dvc repro train@untrained` or make study"),
        (lambda: picollm.load("data/checkpoints/nowhere/seed0"), "data/checkpoints/nowhere/seed0: no such checkpoint folder; train the run first"),
        (lambda: picollm.load("writer").generate(""), "prompt: is empty; give at least one token"),
        (lambda: picollm.load("writer").stream(""), "prompt: is empty; give at least one token"),
        (lambda: picollm.load("short").generate("1 " * 13), "prompt: 13 tokens and 1 new ones exceed the model's longest sequence of 12; shorten either"),
        (lambda: picollm.load("short").score("1 " * 14), "text: 13 tokens and 1 new ones exceed the model's longest sequence of 12; shorten either"),
        (lambda: picollm.load("writer").generate("T", top_p=2), "generate.top_p: must be in (0, 1], not 2"),
        (lambda: picollm.load("writer").generate("T", topp=1), "generate.topp: unknown parameter (did you mean 'top_p'? "),
        (lambda: picollm.load("writer").score("T"), "text: 1 tokens leave nothing to predict; give a longer one"),
        (lambda: picollm.load("writer").score("Z"), "text: chars knows only the training text, which has no 'Z'"),
        (lambda: picollm.load("writer").explain("The"), "data/checkpoints/writer/seed0: lstm has no attention; explain a transformer"),
        (lambda: picollm.load("filter").explain("The"), "data/checkpoints/filter/seed0: a convolution has no attention matrix; explain a model with heads"),
        (lambda: picollm.load("adder").generate("1"), "adder: answers about the tokens it is given, and does not continue them; "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(study, call, message):
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
