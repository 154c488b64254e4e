"""Drawing walks whose law of steps is drawn first, and the stored sets with the exact predictor's loss on each term."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from picollm.tasks import _rows
from picollm.tasks.urn.config import STEPS, Config
from picollm.tasks.urn.floors import expected, oracle
from picollm.tasks.urn.predictor import sequence_losses


def stream(config: Config, seed: int, batch_size: int) -> Callable[[int], np.ndarray]:
    """`batch(step)` -> (N, L) ids, see _rows.stream."""
    return _rows.stream(config, seed, batch_size, lambda rng, n, length: draw(rng, config, n, length))


def draw(rng: np.random.Generator, config: Config, n: int, length: int) -> np.ndarray:
    """(n, length) int16: a start that may be any value, then steps of one law a sequence."""
    bounds = rng.dirichlet(np.full(len(STEPS), config.alpha), size=n).cumsum(1)[:, :-1].astype(np.float32)
    at = rng.random((n, length), np.float32)
    steps = sum((at > bound[:, None]).astype(np.int16) for bound in bounds.T) + np.int16(STEPS[0])
    steps[:, 0] = rng.integers(config.values, size=n)
    return (steps.cumsum(1, dtype=np.int32) % config.values).astype(np.int16)


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns exact floors, controls and counts (losses in nats)."""
    splits, counts = _rows.row_lengths(config), {}
    for split, row_length in splits.items():
        rng = _rows.set_generator(config, split)
        lengths = _rows.draw_lengths(config, split, _rows.size(config, split), rng)
        values = _rows.cut(draw(rng, config, len(lengths), row_length), lengths, -1)
        floor = sequence_losses(config.alpha, values, lengths, config.values)
        _rows.save(out, split, {"values": values, "length": lengths.astype(np.uint16), "floor": floor.astype(np.float32)})
        counts[split] = {"sequences": len(values), "terms": int(lengths.sum()), "scored": int((lengths - 1).sum())}
    _rows.save_facts(out, {split: {"row_length": row_length} for split, row_length in splits.items()}, alpha=config.alpha, values=config.values)
    exact = expected(config.alpha, config.longest)
    return {
        "floor": exact.average(_rows.term_weights(*config.train_lengths)),
        "lengths": {str(length): exact.average(_rows.term_weights(length, length)) for length in config.long_lengths},
        "controls": {
            "uniform": {"loss": float(np.log(config.values)), "accuracy": 1 / config.values},
            "any step": {"loss": float(np.log(len(STEPS))), "accuracy": 1 / len(STEPS)},  # the best that ignores the sequence but its last term
            "knows the law": oracle(config.alpha),  # below the floor: what no predictor can know
        },
        "splits": counts,
    }
