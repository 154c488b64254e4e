"""Samples of a language model: every prompt under every setting, as a table for the report."""

from dataclasses import dataclass, field
from typing import Any

import torch

from picollm.config import STRICT
from picollm.generation.generate import generate
from picollm.generation.sampling import Sampling
from picollm.models import Model
from picollm.tokenizers._shared import from_json


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
        if not all(prompt.strip() for prompt in self.prompts):
            raise ValueError("prompts: one is empty; write the beginning of a text")


def sample_all(model: Model, tokenizer: dict[str, Any], samples: Samples) -> list[dict[str, str]]:
    """[{"prompt", "setting", "text"}]: the text continues the prompt, up to the end of the document."""
    return [
        {"prompt": prompt, "setting": name, "text": continuation(model, tokenizer, prompt, samples.length, setting, samples.seed)}
        for prompt in samples.prompts
        for name, setting in samples.settings.items()
    ]


def continuation(model: Model, tokenizer: dict[str, Any], prompt: str, length: int, sampling: Sampling, seed: int) -> str:
    """Text begins after an end token, as in training; numbers begin with the prompt's own first term."""
    coder = from_json(tokenizer)
    ids = [*([coder.end] if coder.begins_with_end else []), *coder.encode(prompt)]
    room = length if model.max_length is None else min(length, model.max_length - len(ids) + 1)
    return coder.decode(generate(model, torch.tensor([ids]), max(1, room), sampling, seed, stop=coder.end)[0])
