"""Drawing recall sequences: k1 v1 k2 v2 ... kn vn, then every key once more, in random order with random gaps of filler.

As in zoology (arXiv 2312.04927, appendix; used in Based, arXiv 2402.18668): keys and values of a sequence are all
different, what follows the pairs is cut into slots of two tokens, and each key takes one, its query, the filler
after it. Slot x (counted from 1) is as likely as x^(POWER - 1), pair by pair without replacement: as in language, a
key mostly comes again soon. The target stands at the query itself, in an array of its own; nothing else is scored.
Unlike zoology, a gap holds the filler and no random ids, which could be keys.

Shapes: N sequences, L tokens, P the most pairs of any, S slots of the one with the fewest.
"""

from collections.abc import Callable

import numpy as np

from picollm.tasks import _rows
from picollm.tasks.recall.config import Config

POWER = 0.01  # zoology's power_a; 1 would make all slots equally likely


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """`batch(step)` -> (batch_size, length) ids and targets, a pure function of (config.seed, seed, step)."""

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = _rows.generator(_rows.STREAM, config.seed, seed, step)
        return draw(rng, config, draw_pairs(rng, config, batch_size), config.length)

    return batch


def draw_pairs(rng: np.random.Generator, config: Config, n: int) -> np.ndarray:
    """(n,): how many pairs each sequence has."""
    return rng.integers(config.pairs[0], config.pairs[1] + 1, size=n)


def draw(rng: np.random.Generator, config: Config, pairs: np.ndarray, length: int, power: float = POWER) -> tuple[np.ndarray, np.ndarray]:
    """A sequence of `length` tokens for each entry of `pairs` (N,) -> (N, length) int16 ids, and targets: the value at a query, elsewhere the filler."""
    N, P = len(pairs), int(pairs.max())
    keys = _distinct(rng, N, config.keys, P)
    values = config.keys + _distinct(rng, N, config.values, P)
    row, pair = np.nonzero(np.arange(P) < pairs[:, None])  # everything that is there, one entry a pair
    key, value = keys[row, pair], values[row, pair]
    query = 2 * (pairs[row] + _slots(rng, (length - 2 * pairs) // 2, P, power)[row, pair])
    ids, targets = np.full((2, N, length), config.pad, np.int16)
    ids[row, 2 * pair], ids[row, 2 * pair + 1] = key, value
    ids[row, query], targets[row, query] = key, value
    return ids, targets


def _distinct(rng: np.random.Generator, n: int, kinds: int, count: int) -> np.ndarray:
    """(n, count): different numbers below `kinds` in each row, in random order."""
    return rng.random((n, kinds), np.float32).argsort(1)[:, :count]


def _slots(rng: np.random.Generator, slots: np.ndarray, count: int, power: float) -> np.ndarray:
    """(N, count): different slots below `slots` (N,) in each row, in the order in which drawing without replacement finds them.

    It is that of an exponential race: the slot of rate w arrives first with a probability in proportion to w, and so on.
    """
    place = np.arange(slots.max())  # (S,)
    arrival = rng.standard_exponential((len(slots), len(place)), np.float32) * (place + 1.0) ** (1 - power)
    arrival[place >= slots[:, None]] = np.inf
    return arrival.argsort(1)[:, :count]
