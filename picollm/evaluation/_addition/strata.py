"""Where adders fail: every pair of operand lengths, every length of carry chain, nines and round numbers, and both orders of a pair.

Samples say little of rare cases, so each stratum is drawn by itself. Random numbers depend on nothing but the task's seed.

Shapes: N problems, W digits, units first.
"""

from itertools import product
from typing import Any

import numpy as np
import torch

from picollm.core.statistics import proportion
from picollm.models import Model
from picollm.tasks import _rows
from picollm.tasks.addition.bases import to_digits
from picollm.tasks.addition.carries import longest_chain
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows
from picollm.tasks.addition.sampling import carrying_pairs, exact, pairs_of_sums
from picollm.training.batches import from_rows

EACH = 500  # problems of a stratum
NEAR = 5000  # of that where every column is about to carry, in which proofs have found what all other strata did not see
POOL = 200_000  # pairs that those of a chain's length are taken from
BATCH = 4096
LARGEST = 2**61  # of the numbers in strata: so that sums are 64-bit numbers

Pairs = tuple[np.ndarray, np.ndarray]  # (N, 2, W) digits, (N, 2) lengths


@torch.inference_mode()
def said(model: Model, config: Config, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) the likeliest tokens, -1 where none is asked for, and (N, T) bool where they are wrong; the answer is read teacher-forced."""
    digits, lengths = pairs
    N, W = len(digits), max(digits.shape[2], config.digits[1]) if config.padding == "fixed" else digits.shape[2]
    digits = np.pad(digits, ((0, 0), (0, 0), (0, W - digits.shape[2])))
    guesses, wrongs = np.full((N, config.row_length(W)), -1, np.int64), np.zeros((N, config.row_length(W)), bool)
    widths = lengths.max(1) if config.padding == "longest" else np.full(N, W)
    for width in np.unique(widths).tolist():
        members = np.flatnonzero(widths == width)
        for some in np.split(members, np.arange(BATCH, len(members), BATCH)):
            ids, targets = rows(config, digits[some, :, :width], lengths[some])
            batch = from_rows(ids, config.pad, targets)
            guess = model.logits(batch.inputs.to(model.device)).argmax(-1).cpu()
            scored = batch.targets >= 0
            guesses[some, : ids.shape[1]] = torch.where(scored, guess, -1).numpy()
            wrongs[some, : ids.shape[1]] = ((guess != batch.targets) & scored).numpy()
    return guesses, wrongs


def measure(model: Model, config: Config) -> dict[str, Any]:
    """{"lengths": {"3x1": rate}, "chains": {"2": rate}, "suites": {name: rate}, "commutes": rate, "exact": share over all of them}.

    A rate has successes, n, low, high.
    """
    base = config.base
    W = max(width for width in range(1, config.digits[1] + 1) if base**width < LARGEST)
    rng = _rows.set_generator(config, "strata")
    result: dict[str, Any] = {"lengths": {}, "chains": {}, "suites": {}}
    some = np.unique(np.linspace(min(config.digits[0], W), W, 4).round().astype(int)).tolist()  # up to four lengths
    for pair in product(some, repeat=2):
        lengths = np.tile(np.array(pair, np.int16), (EACH, 1))
        result["lengths"][f"{pair[0]}x{pair[1]}"] = _rate(model, config, (exact(rng, base, lengths, W), lengths))
    for chain, pairs in _chains(rng, config, W).items():
        result["chains"][str(chain)] = _rate(model, config, pairs)
    for name, pairs in suites(rng, base, W, config.digits[0]).items():
        result["suites"][name] = _rate(model, config, pairs)
    rates = [rate for part in result.values() for rate in part.values()]
    result["exact"] = float(sum(rate["successes"] for rate in rates) / sum(rate["n"] for rate in rates))
    result["commutes"] = _commutes(model, config, _uniform(rng, config, 4 * EACH, W))
    return result


def _rate(model: Model, config: Config, pairs: Pairs) -> dict[str, float]:
    wrong = said(model, config, pairs)[1].any(1)
    return proportion(int((~wrong).sum()), wrong.size)


def _commutes(model: Model, config: Config, pairs: Pairs) -> dict[str, float]:
    """How often a + b is answered like b + a, rightly or not."""
    one, other = (said(model, config, (pairs[0][:, order], pairs[1][:, order]))[0] for order in ([0, 1], [1, 0]))
    same = np.all(one == other, axis=1)  # the answers stand in the same places, as the operands have as many digits together
    return proportion(int(same.sum()), same.size)


def _uniform(rng: np.random.Generator, config: Config, n: int, W: int) -> Pairs:
    """Every number as likely, as among all pairs; at least as many digits as the task's shortest."""
    digits = rng.integers(config.base, size=(n, 2, W), dtype=np.int8)
    return digits, sizes(digits, config.digits[0])


def sizes(digits: np.ndarray, least: int) -> np.ndarray:
    """(N, 2, W) -> (N, 2): digits without zeros in front, `least` at least."""
    W = digits.shape[2]
    return np.maximum(np.where(digits.any(2), W - (digits[:, :, ::-1] != 0).argmax(2), 1), least).astype(np.int16)


def _chains(rng: np.random.Generator, config: Config, W: int) -> dict[int, Pairs]:
    """By longest carry chain; those too rare among uniform pairs are filled up with pairs that are made to carry."""
    digits, lengths = _uniform(rng, config, POOL // 2, W)
    made = np.full((POOL // 2, 2), W, np.int16)
    digits = np.concatenate((digits, carrying_pairs(rng, config.base, exact(rng, config.base, made, W), made)))
    lengths = np.concatenate((lengths, made))
    chain = longest_chain(digits, config.base)
    found: dict[int, np.ndarray] = {length: np.flatnonzero(chain == length)[:EACH] for length in range(W + 1)}
    return {length: (digits[some], lengths[some]) for length, some in found.items() if some.size}


def suites(rng: np.random.Generator, base: int, W: int, least: int = 1) -> dict[str, Pairs]:
    """nines: 9, 99, ... (the highest digit) with one another and with 0, 1, ...; boundaries: powers of the base, one below and one above, and their
    halves, with one another; complements: random numbers whose sum is just below a power of the base, or just that; near: random numbers all of
    whose columns add up to 8, 9, 10 or 18 (of base 10), so that carries begin, pass on, end and meet the largest sum as often as can be."""
    powers = np.array([base**k for k in range(W + 1)])
    nines, small = powers[1:] - 1, np.arange(base)
    edges = np.unique(np.concatenate((powers, powers - 1, powers + 1, powers // 2)))
    edges = edges[edges < base**W]
    a = rng.integers(base**W, size=EACH)
    above = powers[np.searchsorted(powers, a, "right")]
    sums = above - rng.integers(2, size=EACH)
    b = np.maximum(sums - a, 0)
    sums = np.unique([base - 2, base - 1, base, 2 * base - 2])
    pairs = {
        "nines": np.array([*product(nines, np.concatenate((nines, small))), *product(small, nines)]),
        "boundaries": np.array(list(product(edges, repeat=2))),
        "complements": np.column_stack((a, b))[b < base**W],
        "near": pairs_of_sums(rng, base, rng.choice(sums, size=(NEAR, W))) @ powers[:W],
    }
    result = {}
    for name, values in pairs.items():
        digits = np.stack([to_digits(values[:, operand], base, W) for operand in range(2)], 1)
        result[name] = digits, sizes(digits, least)
    return result
