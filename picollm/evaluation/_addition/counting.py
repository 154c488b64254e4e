"""What some pairs of operands gave: how many, how many wrong, which, and how narrowly the others were right.

Teacher-forced: every answer token is predicted after the right ones before it. A sum is right in this sense if and only if
greedy decoding is right, as up to the first error both see the same tokens. So one pass a pair is enough.

`columns`: only pairs were computed whose digits rise within each column (a_k <= b_k). Each then counts for all that swapping
digits within columns makes of it; proof.py says for which models that is allowed.

Shapes: N pairs, W digits, A digits of the answer.
"""

from dataclasses import dataclass, field

import numpy as np

from picollm.tasks.addition.bases import value_of
from picollm.tasks.addition.carries import add
from picollm.tasks.addition.config import Config

LISTED = 1000  # failing pairs that are written out; all are counted
CLOSEST = 64  # pairs with the smallest margins that are remembered


@dataclass(frozen=True)
class Count:
    """`cases` were computed, and stand for `pairs` ordered pairs, of which `failures` are wrong."""

    cases: int = 0
    pairs: int = 0
    failures: int = 0
    listed: list[list[int]] = field(default_factory=list)  # [a, b, what was said] of failing cases
    closest: list[list[float]] = field(default_factory=list)  # [margin, a, b], rising

    @property
    def margin(self) -> float:
        """By how much the logit of the right token leads that of the best other one, where it does so least."""
        return self.closest[0][0] if self.closest else float("inf")

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.cases + other.cases,
            self.pairs + other.pairs,
            self.failures + other.failures,
            [*self.listed, *other.listed][:LISTED],
            sorted([*self.closest, *other.closest])[:CLOSEST]
            if other.closest and (len(self.closest) < CLOSEST or other.margin < self.closest[-1][0])
            else self.closest,
        )


def whole_answer(config: Config, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, W) twice, units first -> (N, A + 1): the answer's tokens as they are written, and the delimiter that ends them."""
    answer = add(np.stack((a, b), 1), config.base, config.answer_width(a.shape[1]))
    written = answer if config.order == "reversed" else answer[:, ::-1]
    return np.concatenate((written, np.full((len(a), 1), config.delimiter, np.int8)), 1)


def counted(config: Config, a: np.ndarray, b: np.ndarray, said: np.ndarray, margin: np.ndarray, columns: bool) -> Count:
    """`said` (N, A + 1) are the likeliest answer tokens, -1 where none was asked for; `margin` (N,), where 0 is a tie and no answer."""
    wrong = np.flatnonzero(margin <= 0)
    stands_for = 2 ** (a != b).sum(1) if columns else np.ones(len(a), np.int64)
    few = min(CLOSEST, len(margin))
    nearest = np.argpartition(margin, few - 1)[:few] if few else wrong
    closest = sorted([float(margin[row]), _value(a[row], config), _value(b[row], config)] for row in nearest)
    listed = [[_value(a[row], config), _value(b[row], config), _said(said[row], config)] for row in wrong[:LISTED]]
    return Count(len(a), int(stands_for.sum()), int(stands_for[wrong].sum()), listed, closest)


def _value(digits: np.ndarray, config: Config) -> int:
    return value_of(digits.tolist(), config.base)


def _said(tokens: np.ndarray, config: Config) -> int:
    """The number that the answer's tokens spell, -1 where they spell none: one of them is no digit, or what should end it is one."""
    digits = tokens[:-1] if config.order == "reversed" else tokens[:-1][::-1]
    return _value(digits, config) if (digits < config.base).all() and tokens[-1] in (-1, config.delimiter) else -1
