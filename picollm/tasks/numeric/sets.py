"""The stored sets: what stages/generate.py and stages/tokenize.py write for a numeric task.

Raw, for every split: values (N, L) int16 with -1 beyond the length, family (N,) uint8, length (N,) uint16, and floor
(N, L) float32, the exact predictor's loss on each term (NaN where nothing is scored). facts.json says the rest.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from picollm import tokens
from picollm.errors import UserError
from picollm.files import atomic, read_json, write_json
from picollm.tasks.numeric import floors, ngrams
from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.predictor import Prior, sequence_losses
from picollm.tasks.numeric.sampling import SETS, cut, draw, generator
from picollm.tasks.numeric.spec import DETERMINISTIC, FAMILIES, HELD_FAMILIES, Cells, Spec, specification
from picollm.tasks.numeric.values import PAD, VALUES, VOCAB

_SEEN: tuple[Cells, Prior] = ("train", "train")
_HELDOUT: tuple[Cells, Prior] = ("heldout", "full")


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns exact floors, controls and counts (losses in nats)."""
    spec = specification(config.spec, config.holdout, config.longest)
    splits, counts = {}, {}
    for split, row_length in _row_lengths(config).items():
        rng = generator(SETS, config.seed, *split.encode())  # by its name: one more length leaves the other sets as they are
        family, lengths = _families_and_lengths(config, split, rng)
        # Nothing seen in training tells which cells were held out: there the predictor believes in all of them.
        cells, prior = _HELDOUT if split == "heldout" else _SEEN
        values = cut(draw(rng, spec, family, row_length, cells), lengths, -1)
        floor = sequence_losses(spec, values, lengths, prior)
        arrays = {"values": values, "family": family.astype(np.uint8), "length": lengths.astype(np.uint16), "floor": floor.astype(np.float32)}
        for name, array in arrays.items():
            _save(out / f"{split}.{name}.npy", array)
        splits[split] = {"prior": prior, "row_length": row_length}
        counts[split] = {"sequences": len(values), "terms": int(lengths.sum()), "scored": int((lengths - 1).sum())}
    alphabet = {"values": VALUES, "pad": PAD, "vocab_size": VOCAB}
    write_json(out / "facts.json", {"spec": spec.name, "holdout": spec.holdout, "families": list(FAMILIES), "alphabet": alphabet, "splits": splits})
    return {**_floors(config, spec), "splits": counts}


def tokenize(config: Config, raw: Path, out: Path) -> dict[str, Any]:
    """The values as token rows: a value is its own id, beyond the length stands the pad. Returns the counts of each split."""
    splits = {}
    for split in read_json(raw / "facts.json")["splits"]:
        values = load(raw, split, "values")
        ids = np.where(values < 0, PAD, values)
        splits[split] = tokens.write_split(out, split, [ids], VOCAB, row_length=ids.shape[1], rows=len(ids))
    tokens.write_header(out, kind="numeric", vocab_size=VOCAB, tokenizer={"kind": "integers", "pad": PAD}, splits=splits, pad=PAD, stream=asdict(config))
    return {split: {"rows": entry["rows"], "row_length": entry["row_length"], "tokens": entry["tokens"]} for split, entry in splits.items()}


def load(raw: Path, split: str, name: str) -> np.ndarray:
    """One stored array: `name` is values, family, length or floor."""
    path = raw / f"{split}.{name}.npy"
    try:
        array: np.ndarray = np.load(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it (dvc repro)") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: is damaged ({error}); remove it and run the stage that makes it again") from error
    return array


def _save(path: Path, array: np.ndarray) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def _row_lengths(config: Config) -> dict[str, int]:
    """Every split with its row length."""
    trained = ["train", "validation", "test", *(["heldout"] if config.heldout else [])]
    return {**dict.fromkeys(trained, config.train_lengths[1]), **{f"length{length}": length for length in config.long_lengths}}


def _families_and_lengths(config: Config, split: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N,) indices into FAMILIES and (N,) lengths."""
    if split.startswith("length"):
        return rng.integers(len(FAMILIES), size=config.long), np.full(config.long, int(split.removeprefix("length")))
    if split == "heldout":
        family = np.repeat([FAMILIES.index(name) for name in HELD_FAMILIES], config.heldout)
    else:
        family = rng.integers(len(FAMILIES), size=getattr(config, split))
    return family, rng.integers(config.train_lengths[0], config.train_lengths[1] + 1, size=len(family))


def _floors(config: Config, spec: Spec) -> dict[str, Any]:
    weights = floors.term_weights(*config.train_lengths)
    exact = floors.expected(spec)
    held = spec.counts("heldout")
    result = {
        "floor": exact.average(weights),
        "lengths": {str(length): exact.average(floors.term_weights(length, length)) for length in config.long_lengths},
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
