"""The stored sets: what stages/generate.py writes for a numeric task.

Raw, for every split: values (N, L) int16 with -1 beyond the length, family (N,) uint8, length (N,) uint16, and floor
(N, L) float32, the exact predictor's loss on each term (NaN where nothing is scored). facts.json says the rest.
"""

from pathlib import Path
from typing import Any

import numpy as np

from picollm.tasks import _rows
from picollm.tasks._rows import load, term_weights
from picollm.tasks.numeric import floors, ngrams
from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.predictor import Prior, sequence_losses
from picollm.tasks.numeric.sampling import draw
from picollm.tasks.numeric.spec import DETERMINISTIC, FAMILIES, HELD_FAMILIES, Cells, Spec, specification
from picollm.tasks.numeric.values import PAD, VALUES, VOCAB

_SEEN: tuple[Cells, Prior] = ("train", "train")
_HELDOUT: tuple[Cells, Prior] = ("heldout", "full")

__all__ = ["generate", "load"]


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns exact floors, controls and counts (losses in nats)."""
    spec = specification(config.spec, config.holdout, config.longest)
    splits, counts = {}, {}
    for split, row_length in _row_lengths(config).items():
        rng = _rows.set_generator(config, split)
        family, lengths = _families_and_lengths(config, split, rng)
        # Nothing seen in training tells which cells were held out: there the predictor believes in all of them.
        cells, prior = _HELDOUT if split == "heldout" else _SEEN
        values = _rows.cut(draw(rng, spec, family, row_length, cells), lengths, -1)
        floor = sequence_losses(spec, values, lengths, prior)
        arrays = {"values": values, "family": family.astype(np.uint8), "length": lengths.astype(np.uint16), "floor": floor.astype(np.float32)}
        _rows.save(out, split, arrays)
        splits[split] = {"prior": prior, "row_length": row_length}
        counts[split] = {"sequences": len(values), "terms": int(lengths.sum()), "scored": int((lengths - 1).sum())}
    alphabet = {"values": VALUES, "pad": PAD, "vocab_size": VOCAB}
    _rows.save_facts(out, splits, spec=spec.name, holdout=spec.holdout, families=list(FAMILIES), alphabet=alphabet)
    return {**_floors(config, spec), "splits": counts}


def _row_lengths(config: Config) -> dict[str, int]:
    """Every split with its row length."""
    return {**_rows.row_lengths(config), **({"heldout": config.train_lengths[1]} if config.heldout else {})}


def _families_and_lengths(config: Config, split: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N,) indices into FAMILIES and (N,) lengths."""
    if split == "heldout":
        family = np.repeat([FAMILIES.index(name) for name in HELD_FAMILIES], config.heldout)
    else:
        family = rng.integers(len(FAMILIES), size=_rows.size(config, split))
    return family, _rows.draw_lengths(config, split, len(family), rng)


def _floors(config: Config, spec: Spec) -> dict[str, Any]:
    weights = term_weights(*config.train_lengths)
    exact = floors.expected(spec)
    held = spec.counts("heldout")
    result = {
        "floor": exact.average(weights),
        "lengths": {str(length): exact.average(term_weights(length, length)) for length in config.long_lengths},
        "controls": ngrams.controls(spec, weights),
        "cells": {name: {"all": int(n), "heldout": int(held[f])} for f, (name, n) in enumerate(zip(DETERMINISTIC, spec.counts("full"), strict=True))},
    }
    if held.any():
        # What a predictor reaches that does not know what was held out:
        result["floor_all_cells"] = floors.expected(spec, "full").average(weights)
    if weights[floors.IDENTIFIED :].any():
        late = exact.average(np.where(np.arange(len(weights)) < floors.IDENTIFIED, 0, weights))
        result["identified_accuracy"] = {name: late["families"][name]["accuracy"] for name in DETERMINISTIC}
    return result
