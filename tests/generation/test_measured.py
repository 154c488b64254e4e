"""The measures of a model's texts, with a model that knows its corpus by heart, and with the corpus itself."""

import numpy as np
import pytest
import torch

from picollm import models
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.generation.measured import measure_all, summaries
from picollm.generation.samples import Samples
from picollm.generation.sampling import GREEDY, Sampling
from picollm.tasks.text import fables
from picollm.tokenizers.chars import Tokenizer

STORIES = [story.text for story in fables.stories(seed=3, start=0, count=6)]
CODER = Tokenizer.train(STORIES, None)
SETTINGS = {"greedy": GREEDY, "free": Sampling()}


class Parrot(models.Model):
    """After as many tokens as it has been given, it says what follows there in `text`."""

    device = torch.device("cpu")

    def __init__(self, text):
        super().__init__(None, CODER.vocab_size)
        self.text, self.place = text, 0

    def empty_state(self, batch, length):
        self.place = 0

    def forward(self, ids, state=None):
        self.place += ids.shape[1]
        return 100 * torch.nn.functional.one_hot(torch.full_like(ids, self.text[self.place]), self.vocab_size).float()


def folder(path, bits=None, whole=True):
    splits = {}
    for split in ("train", "validation", "test"):
        stream = np.array([CODER.end] + [token for text in STORIES for token in [*CODER.encode(text), CODER.end]])
        splits[split] = write_split(path, split, [stream if whole else stream[stream != CODER.end]], CODER.vocab_size, whole=whole, bits=bits)
    write_header(path, kind="text", vocab_size=CODER.vocab_size, tokenizer=CODER.to_json(), splits=splits)
    return open_tokens(path)


def test_a_story_by_heart_is_accepted_and_copied(tmp_path):
    tokens = folder(tmp_path, bits=60.0)
    stream = tokens.split("train").tolist()
    end = stream.index(CODER.end, 1)
    rows = measure_all(Parrot([*stream[: end + 1], CODER.end]), tokens, Samples(settings=SETTINGS, texts=4, text_length=1000))
    assert [row["setting"] for row in rows] == ["greedy", "free", "corpus"]
    for row in rows[:2]:
        assert (row["tokens"], row["longest_copy"], row["copied_16"]) == (end - 1, end - 1, 1)
        assert (row["accepted"], row["read"], row["different"]) == (1, None, 0.25)
        assert row["self_bleu"] == pytest.approx(1)
        assert row["log_probability"] == pytest.approx(0)
        assert row["grammar_bits_per_byte"] == pytest.approx(next(fables.stories(3, 0, 1)).bits / len(STORIES[0]))
    assert (rows[2]["accepted"], rows[2]["different"], rows[2]["log_probability"]) == (1, 1, None)
    bits = sum(story.bits for story in fables.stories(3, 0, 4)) / sum(map(len, STORIES[:4]))
    assert rows[2]["grammar_bits_per_byte"] == pytest.approx(bits)


def test_a_story_that_is_cut_off_is_none(tmp_path):
    tokens = folder(tmp_path, bits=60.0)
    rows = measure_all(Parrot(tokens.split("train").tolist()), tokens, Samples(settings=SETTINGS, texts=2, text_length=50))
    assert [(row["accepted"], row["grammar_bits_per_byte"], row["read"]) for row in rows] == [(0, None, 1)] * 3


@pytest.mark.parametrize("whole", [True, False])
def test_the_same_twice_without_a_grammar_and_without_documents(tmp_path, whole):
    tokens = folder(tmp_path, whole=whole)
    torch.manual_seed(0)
    model = models.build({"kind": "lstm", "d_model": 8}, CODER.vocab_size, "model").eval()
    samples = Samples(settings=SETTINGS, texts=3, text_length=20)
    rows = measure_all(model, tokens, samples)
    assert rows == measure_all(model, tokens, samples)
    assert "accepted" not in rows[0]
    assert rows[1]["different"] == 1
    assert rows[-1]["copied_16"] == 1, "here test is a part of train"
    assert (rows[0]["different"] == 1) is not whole, "each goes on from another place of the file"
    assert measure_all(model, tokens, Samples(texts=0)) == []


def test_summaries_are_over_seeds_and_of_what_all_have():
    seeds = {0: [{"setting": "p", "read": 0.25, "self_bleu": None}], 1: [{"setting": "p", "read": 0.75, "self_bleu": 1.0}]}
    assert set(summaries(seeds)["p"]) == {"read"}
    assert summaries(seeds)["p"]["read"]["mean"] == 0.5
    assert summaries(seeds)["p"]["read"]["n"] == 2
