"""What a prompt is preceded by, and where its continuation ends."""

import pytest
import torch

from picollm import cli, models
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.files import write_json
from picollm.generation.samples import Samples, continuations, sample_all, sample_epochs
from picollm.generation.sampling import GREEDY, Sampling
from picollm.training.checkpoints import save_model

FACTS = {"tokenizer": {"kind": "chars", "characters": "abc"}}
END = 3


class Fake(models.Model):
    """Says b, b and then the end; keeps the tokens it was given first."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__(None, END + 1)
        self.told = iter((1, 1, END, 0))
        self.first = None

    def empty_state(self, batch, length):
        return None

    def forward(self, ids, state=None):
        self.first = ids[0].tolist() if self.first is None else self.first
        return torch.nn.functional.one_hot(torch.full_like(ids, next(self.told)), END + 1).float()


@pytest.mark.parametrize(("whole", "first"), [(True, [END, 2, 0]), (False, [2, 0])], ids=["documents", "one endless document"])
def test_a_prompt_follows_an_end_token_only_where_documents_do(whole, first):
    model = Fake()
    assert continuations(model, {**FACTS, "whole": whole}, "ca", 10, GREEDY, [0]) == ["bb"]
    assert model.first == first


def test_numbers_begin_with_themselves():
    model = Fake()
    assert continuations(model, {"tokenizer": {"kind": "integers", "pad": END}, "whole": False}, "2 0", 2, GREEDY, [0]) == ["1 1"]
    assert model.first == [2, 0]


NUMBERS = {"tokenizer": {"kind": "integers", "pad": 12}, "whole": False}
TEXT = {"tokenizer": {"kind": "chars", "characters": " abcdefghijklmnop"}, "whole": True}


def writer(vocabulary, **options):
    torch.manual_seed(0)
    return models.build({"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 1, **options}, vocabulary, "model").eval()


def test_a_text_of_many_is_the_one_of_its_seed():
    many = continuations(writer(18), TEXT, "ab", 12, Sampling(), range(3, 8))
    assert len(set(many)) == 5
    assert continuations(writer(18), TEXT, "ab", 12, Sampling(), [5]) == [many[2]]


def test_a_text_ends_before_a_stop_string_and_numbers_before_a_number():
    (text,) = continuations(writer(18), TEXT, "ab", 30, Sampling(), [0])
    string = text[4:7]
    assert continuations(writer(18), TEXT, "ab", 30, Sampling(), [0], stop=[string, "#never"]) == [text[: text.index(string)]]
    free = continuations(writer(13), NUMBERS, "1 2", 30, Sampling(), [0])[0].split()
    stop = next(number for number in free[1:] if len(number) == 1)
    assert continuations(writer(13), NUMBERS, "1 2", 30, Sampling(), [0], stop=[stop]) == [" ".join(free[: free.index(stop)])], "not before 10, 11, ..."


@pytest.mark.parametrize(
    ("prompt", "stop", "message"),
    [
        ("aZ", (), "prompt: chars knows only the training text, which has no 'Z' (U+005A); take bpe or gpt2, or leave it out"),
        ("abcdefghi", (), "prompt: 10 tokens and 1 new ones exceed the model's longest sequence of 8; shorten either"),
        ("ab", ("",), "stop: is empty; give the text to stop at"),
    ],
)
def test_what_cannot_be_continued_is_refused_in_one_line(prompt, stop, message):
    with pytest.raises(UserError) as caught:
        continuations(writer(18, positions="learned", block_size=8), TEXT, prompt, 5, GREEDY, [0], stop)
    assert str(caught.value) == message


def test_where_the_model_can_take_no_more_the_text_is_shorter():
    assert len(continuations(writer(18, positions="learned", block_size=8), TEXT, "abcde", 60, Sampling(), [1])[0]) <= 3


def test_a_prompt_of_another_corpus_is_left_out():
    samples = Samples(prompts=["0 1 2", "ab"], length=5, settings={"greedy": GREEDY, "free": Sampling()})
    assert [(row["prompt"], row["setting"]) for row in sample_all(writer(18), TEXT, samples)] == [("ab", "greedy"), ("ab", "free")]
    with pytest.raises(UserError, match=r"^samples\.prompts: chars knows only the training text, which has no '0'"):
        sample_all(writer(18), TEXT, Samples(prompts=["0 1 2"]))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"texts": 1}, "samples.texts: must be at least 2, which can be compared, or 0 for no measures, not 1"),
        ({"text_length": 0}, "samples.text_length: must be at least 1, not 0"),
        ({"settings": {"corpus": {}}}, "samples.settings.corpus: is the name of the corpus's own texts; choose another"),
        ({"settings": {"p": {"min_p": 2}}}, "samples.settings.p.min_p: must be in (0, 1], not 2.0"),
    ],
)
def test_a_samples_block_that_means_nothing_is_refused(block, message):
    with pytest.raises(UserError) as caught:
        parse(Samples, block, "samples")
    assert str(caught.value) == message


def test_the_command_writes_as_many_texts_as_asked_for(tmp_path, capsys):
    model = writer(18)
    save_model(tmp_path, model, {"model": {"kind": "transformer", "d_model": 16, "n_head": 2, "n_layer": 1}, **TEXT, "targets": False})
    options = ["--top-p", "0.9", "--min-p", "0.01", "--repetition-penalty", "1.2", "--length", "9", "--samples", "3", "--seed", "4", "--stop", "zz"]
    cli.app(["sample", str(tmp_path), "--prompt", "ab", *options], standalone_mode=False)
    expected = continuations(model, TEXT, "ab", 9, Sampling(top_p=0.9, min_p=0.01, repetition_penalty=1.2), [4, 5, 6])
    assert capsys.readouterr().out == "".join(f"ab{text}\n" for text in expected)


def test_every_epoch_writes_after_the_first_prompt_it_can_spell(tmp_path):
    for epoch in (1, 2, 10):
        write_json(tmp_path / f"epoch{epoch:02d}/config.json", {"format": 1, **TEXT, "model": {}, "vocab_size": 18})
    letters = {1: "a", 2: "b", 10: "c"}

    class Letter(models.Model):
        device = torch.device("cpu")

        def __init__(self, letter):
            super().__init__(None, 18)
            self.letter = letter

        def empty_state(self, batch, length):
            return None

        def forward(self, ids, state=None):
            return torch.nn.functional.one_hot(torch.full_like(ids, TEXT["tokenizer"]["characters"].index(self.letter)), 18).float() * 100

    samples = Samples(prompts=["Zebra", "ab", "cd"], length=3, settings={"greedy": GREEDY, "one": Sampling(top_k=1), "last": Sampling(top_p=0.5)})
    found = sample_epochs(tmp_path, lambda path: Letter(letters[int(path.name.removeprefix("epoch"))]), samples)
    assert [(row["epoch"], row["setting"], row["text"]) for row in found] == [
        (epoch, name, 3 * letter) for epoch, letter in letters.items() for name in ("greedy", "last")
    ]
    assert {row["prompt"] for row in found} == {"ab"}
    assert sample_epochs(tmp_path / "none", Letter, samples) == []
