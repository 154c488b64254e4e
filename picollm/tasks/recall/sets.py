"""The stored sets of a recall task, and its floor: exactly 0 nats and 100 %, for every value that is asked for has been read.

length64, length128, ...: as many pairs as in training, in longer sequences. There all slots are equally likely: with
training's law half of the queries would come within the first few slots, and say nothing of the length.
pairs16, pairs32, ...: so many pairs, packed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from picollm.tasks import _rows
from picollm.tasks.recall.config import Config
from picollm.tasks.recall.sampling import POWER, draw, draw_pairs

FLOOR = {"loss": 0.0, "accuracy": 1.0}
EVEN = 1.0  # the power that makes all slots equally likely


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns the floor, controls (losses in nats) and counts."""
    splits, counts = config.row_lengths(), {}
    for split, row_length in splits.items():
        rng = _rows.set_generator(config, split)
        size = _rows.size(config, split)
        pairs = np.full(size, int(split.removeprefix("pairs"))) if split.startswith("pairs") else draw_pairs(rng, config, size)
        values, targets = draw(rng, config, pairs, row_length, EVEN if split.startswith("length") else POWER)
        _rows.save(out, split, {"values": values, "targets": targets, "pairs": pairs.astype(np.uint16)})
        counts[split] = {"sequences": size, "terms": size * row_length, "scored": int(pairs.sum())}
    _rows.save_facts(out, {split: {"row_length": row_length} for split, row_length in splits.items()}, floor=FLOOR["loss"], keys=config.keys)
    return {
        "floor": FLOOR,
        "lengths": {str(length): FLOOR for length in config.long_lengths},
        "pairs": {str(pairs): {**FLOOR, "controls": controls(config, pairs, pairs)} for pairs in config.more_pairs},
        "controls": controls(config, *config.pairs),
        "splits": counts,
    }


def controls(config: Config, fewest: int, most: int) -> dict[str, dict[str, float]]:
    """{name: {"loss" nats, "accuracy"}} of the uniform guesses over all values, and over the n that the sequence has, n from fewest to most."""
    n = np.arange(fewest, most + 1)  # queries too: a sequence with more pairs counts for more
    return {
        "uniform": {"loss": float(np.log(config.values)), "accuracy": 1 / config.values},
        "uniform over those that occurred": {"loss": float((n * np.log(n)).sum() / n.sum()), "accuracy": len(n) / float(n.sum())},
    }
