"""Samples of a language model: every prompt under every setting, as a table for the report."""

from dataclasses import dataclass, field
from typing import Any

import torch

from picollm.config import STRICT
from picollm.generation.generate import generate
from picollm.generation.sampling import Sampling
from picollm.models import Model
from picollm.tokenizers._shared import from_json

LARGEST_SEED = 2**63 - 1  # of torch's generators


@dataclass(frozen=True)
class Samples:
    """The `samples:` block of params.yaml."""

    __pydantic_config__ = STRICT

    prompts: list[str] = field(default_factory=lambda: ["Once upon a time"])
    length: int = 60
    settings: dict[str, Sampling] = field(default_factory=lambda: {"greedy": Sampling(temperature=0)})
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length: must be at least 1, not {self.length}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed: must be from 0 to {LARGEST_SEED}, not {self.seed}")
        if not all(prompt.strip() for prompt in self.prompts):
            raise ValueError("prompts: one is empty; write the beginning of a text")


def sample_all(model: Model, facts: dict[str, Any], samples: Samples) -> list[dict[str, str]]:
    """[{"prompt", "setting", "text"}]: the text continues the prompt, up to the end of the document."""
    return [
        {"prompt": prompt, "setting": name, "text": continuation(model, facts, prompt, samples.length, setting, samples.seed, "samples.prompts")}
        for prompt in samples.prompts
        for name, setting in samples.settings.items()
    ]


def continuation(model: Model, facts: dict[str, Any], prompt: str, length: int, sampling: Sampling, seed: int, parameter: str = "prompt") -> str:
    """`facts` are those of the model's checkpoint. A document begins after an end token, as in training; numbers, and the one
    endless document of a single file, with the prompt's own first token: an end token is nothing that their model has seen."""
    coder = from_json(facts["tokenizer"])
    ids = [*([coder.end] if facts["whole"] else []), *coder.encode(prompt, parameter)]
    room = length if model.max_length is None else min(length, model.max_length - len(ids) + 1)
    return coder.decode(generate(model, torch.tensor([ids]), max(1, room), sampling, seed, coder.end, parameter)[0])
