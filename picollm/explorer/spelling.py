"""Tokens of any task as a person reads them, and what a person types as tokens."""

from typing import Any

import numpy as np

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.tasks.addition import bases
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows
from picollm.tokenizers._shared import END, from_json

PAD = "pad"


class Spelling:
    """Of a checkpoint, by the facts of its config.json."""

    def __init__(self, facts: dict[str, Any]) -> None:
        sums = facts["tokenizer"].get("addition")
        self.addition = None if sums is None else parse(Config, sums, "config.json: tokenizer.addition")
        self.tokenizer = from_json(facts["tokenizer"])
        self.whole = bool(facts.get("whole"))  # every document follows an end token
        self.context = facts.get("context") if self.tokenizer.spells_text else None  # tokens that a model of texts saw at a time

    def label(self, token: int) -> str:
        """The text of one token by itself."""
        if self.addition is not None:
            return "+" if token == self.addition.delimiter else PAD if token > self.addition.delimiter else bases.write([token], self.addition.base)
        if token == self.tokenizer.end:
            return END if self.tokenizer.spells_text else PAD
        return self.tokenizer.decode([token])

    def labels(self, ids: np.ndarray) -> list[str]:
        return [self.label(int(token)) for token in ids]

    def read(self, text: str, parameter: str) -> np.ndarray:
        """(T,) ids of what a person types: a text, integers, or a sum for an adder. Raises UserError for what cannot be spelled, or is nothing."""
        if self.addition is not None:
            return self._sum(self.addition, text, parameter)
        ids = self.tokenizer.encode(text, parameter)
        if not ids:
            raise UserError(f"{parameter}: is empty; give at least one token")
        return np.array([*([self.tokenizer.end] if self.whole else []), *ids], np.int64)

    def _sum(self, config: Config, text: str, parameter: str) -> np.ndarray:
        """`1342+879`, with or without a + at its ends, in the task's own form with the true answer: as much of it as the model is given."""
        words = [word.strip() for word in text.strip().strip("+").split("+")]
        if len(words) != config.operands or not all(words):
            raise UserError(f"{parameter}: {text!r} is no sum of {config.operands} numbers; write it like {'+'.join(['1342', '879', '5'][: config.operands])}")
        numbers = [bases.read(word, config.base) for word in words]
        lengths = np.array([[len(number) for number in numbers]])
        width = config.width(f"length{lengths.max()}")
        digits = np.array([[number + [0] * (width - len(number)) for number in numbers]], np.int8)
        ids, _ = rows(config, digits, lengths)
        return np.asarray(ids[0], np.int64)
