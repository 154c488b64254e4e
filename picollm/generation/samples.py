"""Samples of a language model: every prompt under every setting, as a table for the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from picollm.core.config import STRICT, at_least_one
from picollm.core.errors import UserError
from picollm.generation.generate import generate
from picollm.generation.sampling import Sampling
from picollm.models import Model
from picollm.tokenizers._shared import Base, from_json
from picollm.training.checkpoints import read_config

CORPUS = "corpus"  # stands among the settings for the corpus's own texts
LARGEST_SEED = 2**63 - 1  # what every tool that reads it can hold


@dataclass(frozen=True)
class Samples:
    """The `samples:` block of params.yaml."""

    __pydantic_config__ = STRICT

    prompts: list[str] = field(default_factory=lambda: ["Once upon a time"])
    length: int = 60  # tokens after a prompt
    settings: dict[str, Sampling] = field(default_factory=lambda: {"greedy": Sampling(temperature=0)})
    seed: int = 0
    texts: int = 16  # for the measures, of each setting and model; 0: nothing is measured
    text_length: int = 64  # tokens of such a text

    def __post_init__(self) -> None:
        at_least_one(self, "length", "text_length")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed: must be from 0 to {LARGEST_SEED}, not {self.seed}")
        if not all(prompt.strip() for prompt in self.prompts):
            raise ValueError("prompts: one is empty; write the beginning of a text")
        if CORPUS in self.settings:
            raise ValueError(f"settings.{CORPUS}: is the name of the corpus's own texts; choose another")
        if self.texts < 0 or self.texts == 1:
            raise ValueError(f"texts: must be at least 2, which can be compared, or 0 for no measures, not {self.texts}")


def sample_all(model: Model, facts: dict[str, Any], samples: Samples) -> list[dict[str, str]]:
    """[{"prompt", "setting", "text"}]: the text continues the prompt, up to the end of the document.

    A prompt that the model's tokenizer cannot spell is another corpus's and left out. Raises UserError where none is left.
    """
    result: list[dict[str, str]] = []
    refused: UserError | None = None
    for prompt in samples.prompts:
        try:
            for name, setting in samples.settings.items():
                (text,) = continuations(model, facts, prompt, samples.length, setting, [samples.seed], parameter="samples.prompts")
                result.append({"prompt": prompt, "setting": name, "text": text})
        except UserError as error:
            refused = error
    if refused and not result:
        raise refused
    return result


def sample_epochs(checkpoint: Path, load: Callable[[Path], Model], samples: Samples) -> list[dict[str, Any]]:
    """[{"epoch", "prompt", "setting", "text"}] of the checkpoints that every epoch left in `checkpoint`: the first prompt that the tokenizer
    spells, under the first and the last setting. `load` gives a checkpoint's model.
    """
    ends = list(samples.settings)[:: max(1, len(samples.settings) - 1)]
    few = replace(samples, settings={name: samples.settings[name] for name in ends})
    result = []
    for epoch in sorted(checkpoint.glob("epoch*")):
        written = sample_all(load(epoch), read_config(epoch, "tokenizer", "whole"), few)
        number = int(epoch.name.removeprefix("epoch"))
        result += [{"epoch": number, **row} for row in written if row["prompt"] == written[0]["prompt"]]
    return result


def continuations(
    model: Model,
    facts: dict[str, Any],
    prompt: str,
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    stop: Sequence[str] = (),
    parameter: str = "prompt",
) -> list[str]:
    """One text for each seed. `facts` are those of the model's checkpoint.

    A document begins after an end token, as in training; numbers, and the one endless document of a single file, with the
    prompt's own first token: an end token is nothing that their model has seen. A text ends before the first of `stop`, which
    are strings, or numbers for a model of numbers. Fewer tokens come where the model can take no more.
    Raises UserError for a prompt that is empty, longer than the model can take, or holds what its tokenizer has no id for.
    """
    coder, ids, ends = beginning(facts, prompt, stop, parameter)
    found = generate(model, [ids] * len(seeds), room(model, len(ids), length), sampling, seeds, ends, parameter)
    texts = [coder.decode(one.ids) for one in found]
    return [_before(text, stop) for text in texts] if coder.spells_text else texts


def beginning(facts: dict[str, Any], prompt: str, stop: Sequence[str] = (), parameter: str = "prompt") -> tuple[Base, list[int], set[int]]:
    """The tokenizer, the ids that a continuation of `prompt` begins with, and the ids that end it, see `continuations`."""
    if not all(stop):
        raise UserError("stop: is empty; give the text to stop at")
    coder = from_json(facts["tokenizer"])
    ids = [*([coder.end] if facts["whole"] else []), *coder.encode(prompt, parameter)]
    return coder, ids, {coder.end} if coder.spells_text else {coder.end, *(number for text in stop for number in coder.encode(text, "stop"))}


def room(model: Model, prompt: int, length: int) -> int:
    """How many tokens may follow `prompt` tokens; one where that is too long itself, for `generate` to refuse."""
    return length if model.max_length is None else max(1, min(length, model.max_length - prompt + 1))


def _before(text: str, stop: Sequence[str]) -> str:
    """Strings may begin and end inside of tokens, so they are looked for in the text."""
    return text[: min((place for string in stop if (place := text.find(string)) >= 0), default=len(text))]
