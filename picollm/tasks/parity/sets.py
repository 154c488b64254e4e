"""Bits, equally likely and independent, and the parity of those up to each: x_1 xor ... xor x_t.

The floor is exactly 0 nats and 100 %: the target is a function of the bits that were read, whatever they are. What makes
it hard: the function needs every one of them. Who sees only the last k bits knows nothing once there were more, for the
bits before are a fair coin that is added to what is seen; so all such controls stay at ln 2 and 50 %.
State tracking by recurrent and linear-attention models: arXiv 2411.12537.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from picollm.tasks import _rows
from picollm.tasks.parity.config import BITS, Config

WINDOWS = (1, 4, 16)  # bits that a control sees
FLOOR = {"loss": 0.0, "accuracy": 1.0}


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """`batch(step)` -> (N, L) bits and (N, L) targets, see _rows.stream."""
    return _rows.stream(config, seed, batch_size, draw)


def draw(rng: np.random.Generator, n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, length) int8 bits and their parities."""
    bits = rng.integers(BITS, size=(n, length), dtype=np.int8)
    return bits, np.bitwise_xor.accumulate(bits, axis=1)


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns the floor, controls and counts."""
    splits, counts = _rows.row_lengths(config), {}
    for split, row_length in splits.items():
        rng = _rows.set_generator(config, split)
        lengths = _rows.draw_lengths(config, split, _rows.size(config, split), rng)
        values, targets = (_rows.cut(array, lengths, -1) for array in draw(rng, len(lengths), row_length))
        _rows.save(out, split, {"values": values, "targets": targets, "length": lengths.astype(np.uint16)})
        counts[split] = {"sequences": len(values), "terms": int(lengths.sum()), "scored": int(lengths.sum())}
    _rows.save_facts(out, {split: {"row_length": row_length} for split, row_length in splits.items()}, floor=FLOOR["loss"])
    long = {str(length): FLOOR for length in config.long_lengths}
    return {"floor": FLOOR, "lengths": long, "controls": controls(*config.train_lengths), "splits": counts}


def controls(low: int, high: int) -> dict[str, dict[str, float]]:
    """{name: {"loss" nats, "accuracy"}} of the uniform guess, and of the best one from the last k bits: certain of the first k targets, blind after."""
    weights = _rows.term_weights(low, high, 0)
    result = {"uniform": {"loss": float(np.log(BITS)), "accuracy": 1 / BITS}}
    for k in (k for k in WINDOWS if k < high):  # who sees all is no control
        known = float(weights[:k].sum() / weights.sum())
        result[f"last {k} bit{'s' * (k > 1)}"] = {"loss": (1 - known) * float(np.log(BITS)), "accuracy": known + (1 - known) / BITS}
    return result
