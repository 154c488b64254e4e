"""A trained adder taken from its checkpoint alone: what its task was, and what it answers to a sum."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.statistics import proportion
from picollm.evaluation._addition import strata
from picollm.models import Model
from picollm.tasks import _rows
from picollm.tasks.addition import bases
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import written
from picollm.tasks.addition.sampling import exact
from picollm.training.checkpoints import load_model, read_config

MEASURED = 200  # problems, to say how good a model is at numbers longer than trained


@dataclass(frozen=True)
class Answer:
    tokens: str  # the prompt and what was written after it, as ids with + for the delimiter
    digits: list[int]  # of the answer, units first
    confidence: float  # the product of the probabilities of its tokens
    right: bool
    passes: int


def load(checkpoint: Path) -> tuple[Model, Config]:
    """Raises UserError for a checkpoint of another task."""
    task = read_config(checkpoint, "tokenizer")["tokenizer"].get("addition")
    if task is None:
        raise UserError(f"{checkpoint}: was not trained to add; name a run of a task of kind addition")
    return load_model(checkpoint), parse(Config, task, str(checkpoint / "config.json"))


def operands(config: Config, words: list[str], base: int) -> list[list[int]]:
    """The numbers, written in `base`, as digits of the task's base, units first. Raises UserError for what cannot be added."""
    if not words:
        raise UserError(f"operands: the sum is empty; give {config.operands} numbers")
    try:
        bases.check_base(base)
    except ValueError as error:
        raise UserError(str(error)) from error
    numbers = [bases.value_of(bases.read(word, base), base) for word in words]
    if len(numbers) != config.operands:
        raise UserError(f"operands: {len(numbers)} numbers, but the model was trained to add {config.operands}; give so many")
    return [bases.digits_of(number, config.base) for number in numbers]


@torch.inference_mode()
def answer(model: Model, config: Config, numbers: list[list[int]]) -> Answer:
    """Greedy, as many tokens a pass as the model was trained for. Raises UserError beyond a position table."""
    digits, lengths = _problem(config, numbers)
    width = digits.shape[2]
    whole, starts = written(config, digits, lengths)
    start, ahead = int(starts[0]), config.ahead(width)
    most = config.answer_width(width) + (0 if isinstance(config.tokens_per_pass, str) else 1)
    row, confidence, passes = whole[0, :start].tolist(), 1.0, 0
    while len(row) < start + most and (len(row) == start or row[-1] < config.base):
        passes += 1
        predicted = model.logits(torch.tensor([row]))[0].softmax(-1)
        for probabilities in predicted[len(row) - ahead :]:
            if len(row) == start + most or (len(row) > start and row[-1] >= config.base):
                break
            confidence *= float(probabilities.max())
            row.append(int(probabilities.argmax()))
    said = [token for token in row[start:] if token < config.base]
    said = said if config.order == "reversed" else said[::-1]
    truth = sum(bases.value_of(number, config.base) for number in numbers)
    clean = all(token < config.base for token in row[start:-1])
    return Answer(_spelled(row, config), said or [0], confidence, bool(said) and clean and bases.value_of(said, config.base) == truth, passes)


def beyond(model: Model, config: Config, numbers: list[list[int]]) -> dict[str, float] | None:
    """For operands longer than any in training: the share of random problems of that length that the model has right; else None."""
    width = max(map(len, numbers))
    if width <= config.digits[1]:
        return None
    lengths = np.full((MEASURED, config.operands), width, np.int16)
    digits = exact(_rows.set_generator(config, f"length{width}"), config.base, lengths, width)
    wrong = strata.said(model, config, (digits, lengths))[1].any(1)
    return proportion(int((~wrong).sum()), wrong.size)


def _problem(config: Config, numbers: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """(1, K, W) digits and (1, K) lengths, in the task's own format."""
    width = max(map(len, numbers))
    width = max(width, config.digits[1]) if config.padding == "fixed" else max(width, config.digits[0]) if config.padding == "longest" else width
    digits = np.array([[number + [0] * (width - len(number)) for number in numbers]], np.int8)
    return digits, np.array([[len(number) for number in numbers]])


def _spelled(row: list[int], config: Config) -> str:
    figure = bases.FIGURES if config.base <= len(bases.FIGURES) else [f"{digit:02}." for digit in range(config.base)]
    return "".join(figure[token] if token < config.base else "+" if token == config.delimiter else "P" for token in row)
