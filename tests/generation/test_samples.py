"""What a prompt is preceded by, and where its continuation ends."""

import pytest
import torch

from picollm import models
from picollm.generation.samples import continuations
from picollm.generation.sampling import GREEDY

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
