"""Drawing problems: numbers of digits equally often, some made to carry at first, and never one that is held out.

Uniform numbers hardly ever carry far, and are hardly ever short. So every length is as likely, and a share of the pairs, which
falls to 0 over `carry_steps`, has a chain of carries on purpose: one column alone, a chain somewhere, or one from end to end
(999 + 1). A share `carry_missed` of these have the same columns and nothing that sets them off (999 + 0), which is as rare
by chance, and what a model gets wrong that takes a long chain for a carry. The share depends on the step and on no measurement, so
that a batch stays a pure function of it. A share `even_share`, of all steps alike, has columns whose sums are as likely: 9 + 9 is one pair of digits in a
hundred and one sum of nineteen, and 18 beside a rare neighbour is what a model gets wrong that has learned the sums that are frequent.

Shapes: N problems, K operands, W digits, units first.
"""

from collections.abc import Callable

import numpy as np

from picollm.core.errors import UserError
from picollm.tasks import _rows
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.heldout import is_held_out
from picollm.tasks.addition.rows import rows

TRIES = 200  # draws without a single new problem, after which there are taken to be none


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """`batch(step)` -> (batch_size, T) ids and targets, a pure function of (config.seed, seed, step).

    Where zeros go up to the longest operand, all problems of a batch have the same number of digits, equally often each.
    """

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = _rows.generator(_rows.STREAM, config.seed, seed, step)
        width = int(rng.integers(config.digits[0], config.digits[1] + 1)) if config.padding == "longest" else config.digits[1]
        return rows(config, *problems(rng, config, batch_size, width, carry_share(config, step), config.even_share))

    return batch


def carry_share(config: Config, step: int) -> float:
    """Of the problems of a training step that are made to carry."""
    return config.carry_share * max(0.0, 1 - step / config.carry_steps) if config.carry_steps else 0.0


def problems(
    rng: np.random.Generator, config: Config, n: int, width: int, carrying: float = 0.0, even: float = 0.0, held: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(n, K, width) int8 digits and (n, K) lengths, all held out or none. Raises UserError where there are no such problems."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    share = config.heldout if held else 1 - config.heldout
    missing, tries = n, 0
    while missing > 0:
        digits, lengths = draw(rng, config, int(missing / share * 1.1) + 16, width, carrying, even)
        chosen = np.flatnonzero(is_held_out(digits, config.heldout) == held)[:missing]
        kept.append((digits[chosen], lengths[chosen]))
        missing -= len(chosen)
        tries = 0 if len(chosen) else tries + 1
        if tries == TRIES:
            raise UserError(
                f"heldout: {config.heldout} leaves {'no problem to test' if held else 'nothing to train on'} among those of {width} digits; change it"
            )
    return np.concatenate([digits for digits, _ in kept]), np.concatenate([lengths for _, lengths in kept])


def draw(rng: np.random.Generator, config: Config, n: int, width: int, carrying: float = 0.0, even: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """As `problems`, held out or not. Where zeros go up to the longest operand, one has `width` digits."""
    base, K = config.base, config.operands
    lengths = rng.integers(min(config.digits[0], width), width + 1, size=(n, K), dtype=np.int16)
    if config.padding == "longest":
        lengths[np.arange(n), rng.integers(K, size=n)] = width
    digits = exact(rng, base, lengths, width)
    if carrying and K == 2 and width > 1:
        some = np.flatnonzero(rng.random(n) < carrying)
        digits[some] = carrying_pairs(rng, base, digits[some], lengths[some], config.carry_missed)
    if even:
        some = np.flatnonzero(rng.random(n) < even)
        digits[some] = pairs_of_sums(rng, base, rng.integers(2 * base - 1, size=(len(some), width)))  # lengths stay: fixed padding reads none
    return digits, lengths


def exact(rng: np.random.Generator, base: int, lengths: np.ndarray, width: int) -> np.ndarray:
    """(N, K, width): uniform numbers of exactly `lengths` (N, K) digits; of one digit, 0 too."""
    digits = rng.integers(base, size=(*lengths.shape, width), dtype=np.int8)
    digits[np.arange(width) >= lengths[..., None]] = 0
    first = np.take_along_axis(digits, lengths[..., None] - 1, -1)[..., 0]
    again = (first == 0) & (lengths > 1)
    row, k = np.nonzero(again)
    digits[row, k, lengths[row, k] - 1] = rng.integers(1, base, size=len(row), dtype=np.int8)
    return digits


def carrying_pairs(rng: np.random.Generator, base: int, digits: np.ndarray, lengths: np.ndarray, missed: float = 0.0) -> np.ndarray:
    """(N, 2, W) pairs with a chain each: a third of one column, a third of any length, a third over all columns; a share `missed` of them lacks the carry."""
    N, _, W = digits.shape
    every = np.arange(N)
    longer = lengths.argmax(1)
    x, y = digits[every, longer], digits[every, 1 - longer]  # of the longer number and of the other; x is changed to fit y
    long, short = lengths.max(1), lengths.min(1)
    kind = rng.integers(3, size=N)
    start = np.where(kind == 2, 0, rng.integers(short))
    room = long - 1 - start
    run = np.where(kind == 0, 0, np.where(kind == 2, room, rng.integers(room + 1)))
    y[every, start] = np.maximum(y[every, start], 1)
    x[every, start] = rng.integers(base - y[every, start], base)
    if missed:  # else nothing is drawn for it, and all other draws stay what they were
        without = np.flatnonzero(rng.random(N) < missed)
        x[without, start[without]] = base - 1 - y[without, start[without]]
    columns = np.arange(W)
    inside = (columns > start[:, None]) & (columns <= (start + run)[:, None])
    x = np.where(inside, base - 1 - y, x).astype(np.int8)
    front = every, long - 1
    x[front] = np.where((x[front] == 0) & (long > 1), 1, x[front])  # no number starts with a zero; the column then makes a carry by itself
    result = digits.copy()
    result[every, longer], result[every, 1 - longer] = x, y
    return result


def pairs_of_sums(rng: np.random.Generator, base: int, sums: np.ndarray) -> np.ndarray:
    """sums (N, W) from 0 to 2 (base - 1) -> (N, 2, W) random pairs whose columns add up to them, without any carry."""
    first = rng.integers(np.maximum(0, sums - base + 1), np.minimum(sums, base - 1) + 1)
    return np.stack((first, sums - first), 1).astype(np.int8)
