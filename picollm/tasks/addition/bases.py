"""Numbers as digits of any base and back, and how they are written: 270F, or 27.09.99 where a digit needs more than one character.

Digits are arrays with the units first, whatever order a task writes them in. Shapes: N numbers, W digits.
"""

from collections.abc import Sequence

import numpy as np

from picollm.core.errors import UserError

FIGURES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MOST = 100  # of bases: digits are stored in 8 bits, and written as two decimal figures


def check_base(base: int) -> None:
    if not 2 <= base <= MOST:
        raise ValueError(f"base: {base} is none that numbers can be written in; give 2 to {MOST}, such as 2, 4, 8, 10, 16, 32, 100")


def digits_of(value: int, base: int) -> list[int]:
    """Of a number of any size, units first; 0 has one digit."""
    check_base(base)
    if value < 0:
        raise ValueError(f"{value}: is negative; give 0 or more")
    digits = [value % base]
    while value := value // base:
        digits.append(value % base)
    return digits


def value_of(digits: Sequence[int], base: int) -> int:
    """The number whose digits, units first, these are."""
    value = 0
    for digit in reversed(digits):
        value = value * base + int(digit)
    return value


def to_digits(values: np.ndarray, base: int, width: int) -> np.ndarray:
    """(N,) -> (N, width) int8, with zeros in front."""
    result = np.empty((len(values), width), np.int8)
    left = values.astype(np.int64)
    for k in range(width):
        left, result[:, k] = np.divmod(left, base)
    assert not left.any(), f"a number has more than {width} digits"
    return result


def write(digits: Sequence[int], base: int) -> str:
    """As people write it, units last: one figure a digit, or from base 37 two decimal ones between dots."""
    if base <= len(FIGURES):
        return "".join(FIGURES[digit] for digit in reversed(digits))
    return ".".join(f"{digit:02}" for digit in reversed(digits))


def read(text: str, base: int) -> list[int]:
    """The digits of what `write` wrote, or of decimal figures, units first. Raises UserError for anything that is no number of the base."""
    check_base(base)
    if text.startswith("-"):
        raise UserError(f"{text}: is negative; only sums of 0 and more were learned")
    if not text:
        raise UserError("an operand is empty; give a number")
    if base > len(FIGURES):
        parts = text.split(".")
        if not all(part.isascii() and part.isdecimal() and int(part) < base for part in parts):
            raise UserError(f"{text}: is no number of base {base}; write its digits as decimal numbers below {base} between dots, such as 7.42")
        return [int(part) for part in reversed(parts)]
    digits = [FIGURES.find(character) for character in reversed(text.upper())]
    wrong = next((character for character, digit in zip(reversed(text), digits, strict=True) if not 0 <= digit < base), None)
    if wrong is not None:
        raise UserError(f"{text}: {wrong!r} is no digit of base {base}; use {FIGURES[0]} to {FIGURES[base - 1]}")
    return digits


def tokens_per_problem(base: int, largest: int) -> dict[str, float]:
    """What a sum of two numbers 0..largest costs: `padded` tokens with all zeros, `mean` without any, over all pairs (exact)."""
    width, answer = len(digits_of(largest, base)), len(digits_of(2 * largest, base))
    n = largest + 1
    longer = sum(n - base**k for k in range(1, width))  # numbers with more than k digits
    sums = sum(n * n - _pairs_below(base**k, n) for k in range(1, answer))
    return {"padded": float(4 + 2 * width + answer), "mean": 4 + 2 * (1 + longer / n) + 1 + sums / n**2}


def _pairs_below(limit: int, n: int) -> int:
    """How many of the n^2 pairs of 0..n-1 have a sum below `limit`."""
    if limit <= n:
        return limit * (limit + 1) // 2
    return n * n - max(0, 2 * n - 1 - limit) * (2 * n - limit) // 2
