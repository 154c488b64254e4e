"""Sums that a model is shown, with their truth: which token is a digit of which column, where each answer digit is asked for, what is carried.

All operands have the same number of digits, so that a column stands in the same place in every sum; only the answer of a task without
padding differs in length.

Shapes: N sums, W digits of an operand, A = W + 1 of an answer, T tokens, V vocabulary. Columns count from the units, 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from picollm.analysis._result import Skip, Subject
from picollm.core.config import parse
from picollm.models import Model
from picollm.nn.taps import Tap
from picollm.tasks.addition.bases import digits_of
from picollm.tasks.addition.carries import add, longest_chain
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows
from picollm.tasks.addition.sampling import carrying_pairs, exact

ORIGINAL = (101, 1002)  # the sum whose attention the original shows
CHAINS = 4  # the longest carry chain that sums are sorted by
POOL = 20_000  # sums that those of a chain's length are taken from
MOST_DIGITS = 5  # of operands, where the task does not fix how many: enough for every chain, and quick
MOST_COLUMNS = 3  # of which pairs are made: the lowest, the highest and one between
NO_SUMS = "the task does not add"
KINDS = {"made": "made in the column below", "passed": "passed on by the column below"}  # with 0 and 1 columns between


def task(subject: Subject) -> Config | Skip:
    """The addition that the model was trained for, of two operands; of a model that can be looked into."""
    if subject.tokens.header["kind"] != "addition":
        return Skip(NO_SUMS)
    config = parse(Config, subject.tokens.header["stream"], str(subject.tokens.folder / "header.json"))
    if config.operands != 2:
        return Skip(f"reads columns of two digits, the task adds {config.operands} numbers")
    return Skip(subject.without_taps) if subject.without_taps else config


@dataclass(frozen=True, eq=False)
class Sums:
    config: Config
    digits: np.ndarray  # (N, 2, W)
    ids: np.ndarray  # (N, T): what a model reads, the answer included
    asks: np.ndarray  # (N, A): the position whose prediction is the answer's digit of a column; -1 where the answer has none
    answer: np.ndarray  # (N, A)
    carries: np.ndarray  # (N, A): into each column; the last is the answer's last digit

    def operand(self, k: int, column: np.ndarray) -> np.ndarray:
        """The position of the digit of operand `k` in each column."""
        W = self.digits.shape[2]
        return 1 + k * (W + 1) + (column if self.config.order == "reversed" else W - 1 - column)

    @property
    def columns(self) -> np.ndarray:
        """(N, T): the column of each token that is a digit, -1 for delimiters and pads."""
        N, T = self.ids.shape
        W = self.digits.shape[2]
        places = [np.tile(self.operand(k, np.arange(W)), (N, 1)) for k in range(2)] + [_answer_places(self.config, self.answer)]
        found = np.full((N, T + W + 1), -1)  # longer than what is read, for digits that are only asked for
        for place in places:
            row, column = np.nonzero(place >= 0)
            found[row, place[row, column]] = column
        return found[:, :T]


def _answer_places(config: Config, answer: np.ndarray) -> np.ndarray:
    """(N, A): where the answer's digits would stand in a whole row, -1 for a zero in front that is not written."""
    A = answer.shape[1]
    size = np.where((answer[:, -1] > 0) | (config.padding != "none"), A, A - 1)[:, None]
    column, start = np.arange(A), 1 + 2 * A
    return np.where(column < size, start + (column if config.order == "reversed" else size - 1 - column), -1)


def sums(config: Config, digits: np.ndarray) -> Sums:
    """(N, 2, W) digits, units first."""
    N, _, W = digits.shape
    answer = add(digits, config.base, config.answer_width(W))
    ids, _ = rows(config, digits, np.full((N, 2), W))
    places = _answer_places(config, answer)
    carries = np.zeros((N, W + 1), np.int64)
    for column in range(W):
        carries[:, column + 1] = (digits[:, :, column].sum(1) + carries[:, column]) // config.base
    return Sums(config, digits, ids.astype(np.int64), np.where(places < 0, -1, places - config.ahead(W)), answer.astype(np.int64), carries)


def width(config: Config) -> int:
    """Digits of the operands that are drawn."""
    most = config.digits[1]
    return most if config.padding == "fixed" else max(config.digits[0], min(most, MOST_DIGITS))


def original(config: Config) -> Sums:
    """The original's sum, or where the task's numbers are too short or too small for it the largest number and 1."""
    W = width(config)
    numbers = [digits_of(value, config.base) for value in ORIGINAL]
    if max(map(len, numbers)) > W or (config.padding == "none" and config.digits[0] > min(map(len, numbers))):
        numbers = [[config.base - 1] * W, [1]]
    return sums(config, np.array([[number + [0] * (W - len(number)) for number in numbers]], np.int8))


def drawn(config: Config, n: int, seed: int) -> Sums:
    """Uniform among those of `width` digits."""
    W = width(config)
    return sums(config, exact(_generator(seed), config.base, np.full((n, 2), W), W))


def by_chain(config: Config, each: int, seed: int) -> tuple[Sums, np.ndarray]:
    """Up to `each` sums of every length of chain that there is, and (N,) the columns of their longest chain."""
    W, rng = width(config), _generator(seed)
    lengths = np.full((POOL // 2, 2), W, np.int16)
    uniform, pairs = (exact(rng, config.base, lengths, W) for _ in range(2))
    digits = np.concatenate((uniform, carrying_pairs(rng, config.base, pairs, lengths)))
    chain = longest_chain(digits, config.base)
    some = np.concatenate([np.flatnonzero(chain == length)[:each] for length in range(min(W, CHAINS) + 1)])
    return sums(config, digits[some]), chain[some]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sums that differ in the carry into `column` (N,), and in nothing else that its answer digit depends on.

    The digits of one lower column decide: they add up to s or to s + base, so that the same digit is written and another one carried.
    Between it and `column` may lie columns that only pass a carry on, whose own digits are the same in both.
    """

    one: Sums
    other: Sums
    twin: Sums  # the carries of `one`, from other digits in the deciding column
    column: np.ndarray
    deciding: np.ndarray  # (N,) the column whose digits differ

    @property
    def ask(self) -> np.ndarray:
        """(N,): the position that answers `column`, the same in all three."""
        ask: np.ndarray = self.one.asks[np.arange(len(self.column)), self.column]
        return ask

    def digit(self, of: Sums) -> np.ndarray:
        """(N,): the right answer in `column`."""
        right: np.ndarray = of.answer[np.arange(len(self.column)), self.column]
        return right


def pairs(config: Config, each: int, passing: int, seed: int) -> Pairs | None:
    """`each` pairs of some columns, with `passing` columns between the deciding one and the one asked for; None where there are too few columns."""
    W, base, rng = width(config), config.base, _generator(seed)
    if passing + 2 > W:
        return None
    columns = np.unique(np.linspace(passing + 1, W - 1, MOST_COLUMNS).round().astype(int))
    column = np.repeat(columns, each)
    N = len(column)
    every, deciding = np.arange(N), column - 1 - passing
    digits = exact(rng, base, np.full((N, 2), W), W)
    for column_passing in range(1, passing + 1):
        _put(digits, column - column_passing, _split(rng, np.full(N, base - 1), base))
    passes = digits[every, :, column].sum(1) == base - 1  # a column that passes the carry on would change further digits
    while passes.any():
        digits[passes] = _redrawn(rng, digits[passes], column[passes], base)
        passes = digits[every, :, column].sum(1) == base - 1
    low = rng.integers(base - 1, size=N)
    high = rng.random(N) < 0.5
    one, other, twin = (sums(config, _put(digits.copy(), deciding, _split(rng, low + base * carry, base))) for carry in (high, ~high, high))
    return Pairs(one, other, twin, column, deciding)


def carried(config: Config, each: int, seed: int) -> dict[str, Pairs] | Skip:
    """Pairs of each of KINDS that the task's numbers are long enough for."""
    made = {name: pairs(config, each, passing, seed) for passing, name in enumerate(KINDS)}
    long_enough = {name: found for name, found in made.items() if found is not None}
    return long_enough or Skip("a carry comes from a column below, and the task's numbers have one digit")


def _redrawn(rng: np.random.Generator, digits: np.ndarray, column: np.ndarray, base: int) -> np.ndarray:
    least = (column == digits.shape[2] - 1).astype(int)[:, None]  # no number begins with a zero
    return _put(digits, column, rng.integers(least, base, size=(len(digits), 2)))


def _put(digits: np.ndarray, column: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Put `values` (N, 2) into the column (N,) of each sum, in place."""
    digits[np.arange(len(digits)), :, column] = values
    return digits


def _split(rng: np.random.Generator, total: np.ndarray, base: int) -> np.ndarray:
    """(N,) -> (N, 2): two digits that add up to it, every such pair as likely."""
    first = rng.integers(np.maximum(0, total - base + 1), np.minimum(total, base - 1) + 1)
    return np.stack((first, total - first), 1)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@torch.no_grad()
def logits(model: Model, ids: np.ndarray, tap: Tap | None = None) -> Tensor:
    """(N, T) -> (N, T, V)."""
    result: Tensor = model(torch.from_numpy(ids).to(model.device), tap=tap)
    return result


def said(model: Model, of: Sums, tap: Tap | None = None) -> np.ndarray:
    """(N, A): the likeliest token where each column is asked for, -1 where there is none; the answer is read teacher-forced."""
    guesses = logits(model, of.ids, tap).argmax(-1).cpu().numpy()
    return np.where(of.asks >= 0, np.take_along_axis(guesses, of.asks.clip(0), 1), -1)


def right(model: Model, of: Sums, tap: Tap | None = None) -> np.ndarray:
    """(N,) bool: all digits of the answer."""
    everything: np.ndarray = ((said(model, of, tap) == of.answer) | (of.asks < 0)).all(1)
    return everything
