"""Plain files of number sequences, `1342|879|2221` a line: those of the original's generator, from settings in YAML.

They are texts: a task of kind text reads such a file with a tokenizer trained on it (bpe) or a fixed one (chars, bytes, gpt2).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picollm.core.config import STRICT, at_least_one, not_negative
from picollm.core.files import write_text
from picollm.tasks.addition.bases import check_base, digits_of
from picollm.tasks.addition.bases import write as written

SEED = 3  # the first number of the generator's seed: apart from those of tasks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One file. Numbers low..high, uniform; a sequence is `operands` of them and their sum."""

    __pydantic_config__ = STRICT

    low: int = 0
    high: int = 9999
    sequences: int = 100_000
    operands: int = 2
    base: int = 10
    reverse: bool = False  # units first
    columns: str = "|"
    rows: str = "\n"
    seed: int = 0

    def __post_init__(self) -> None:
        check_base(self.base)
        if not 0 <= self.low <= self.high < 2**62 // max(self.operands, 1):
            raise ValueError(f"high: {self.low}..{self.high} is no range of numbers; give 0 <= low <= high")
        at_least_one(self, "sequences", "operands")
        for name in ("columns", "rows"):
            if not getattr(self, name) or any(figure.isalnum() or figure in ".-" for figure in getattr(self, name)):
                raise ValueError(f"{name}: {getattr(self, name)!r} could be part of a number; take another delimiter, such as | or a newline")
        if self.columns == self.rows:
            raise ValueError(f"rows: must differ from columns, both are {self.rows!r}")
        not_negative(self, "seed")


def write(settings: Settings, path: Path) -> None:
    rng = np.random.Generator(np.random.PCG64([SEED, settings.seed]))
    numbers = rng.integers(settings.low, settings.high + 1, size=(settings.sequences, settings.operands))
    table = np.column_stack((numbers, numbers.sum(1))).tolist()
    write_text(path, settings.rows.join(settings.columns.join(_word(value, settings) for value in row) for row in table) + settings.rows)


def _word(value: int, settings: Settings) -> str:
    digits = digits_of(value, settings.base)
    return written(digits[::-1] if settings.reverse else digits, settings.base)
