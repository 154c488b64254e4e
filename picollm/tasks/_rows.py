"""What tasks of number sequences share: random numbers, stored arrays, token rows, and batches of one length.

A task either predicts the next term of its sequences, or has targets of its own: one for each term, in a second array
of the same shape, with the pad where nothing is scored.

Raw, for every split: values (N, L) with -1 beyond the length, length (N,) uint16, and where the task has them targets
(N, L), and floor (N, L) float32, the exact predictor's loss on each term (NaN where nothing is scored). facts.json
names the splits, and under "floor" the loss that is the same everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from picollm.core import tokens
from picollm.core.errors import UserError
from picollm.core.files import atomic, read_json, write_json
from picollm.tasks._config import Lengths, Sets

STREAM, SETS = 0, 1  # the first number of every seed: training batches and stored sets never share their random numbers

Drawn = TypeVar("Drawn")  # ids, or ids and their targets
Counts = dict[str, int]


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(seed)))


def set_generator(config: Sets, split: str) -> np.random.Generator:
    """The random numbers of a stored set, by its name: one more set leaves the others as they are."""
    return generator(SETS, config.seed, *split.encode())


def stream(config: Lengths, seed: int, batch_size: int, draw: Callable[[np.random.Generator, int, int], Drawn]) -> Callable[[int], Drawn]:
    """`batch(step)`, a pure function of (config.seed, seed, step) without any padding, from `draw(generator, sequences, length)`.

    All sequences of a batch have one length, drawn in proportion to the terms that it has to score, and as many of them
    come as make up the terms of `batch_size` sequences of mixed lengths. So each scored term is as likely as when every
    sequence draws a length of its own, uniformly, but no time goes into padding (a third of it at lengths 8 to 32).
    """
    shortest, longest = config.train_lengths
    lengths = np.arange(shortest, longest + 1)
    scored = lengths - config.unscored
    terms = batch_size * scored.mean()

    def batch(step: int) -> Drawn:
        rng = generator(STREAM, config.seed, seed, step)
        length = int(rng.choice(lengths, p=scored / scored.sum()))
        return draw(rng, max(1, round(terms / (length - config.unscored))), length)

    return batch


def term_weights(low: int, high: int, unscored: int = 1) -> np.ndarray:
    """(high,): how often a term is scored when lengths are uniform on low..high; 0 for the first `unscored`."""
    weights = np.minimum(high - np.arange(high), high - low + 1) / (high - low + 1)
    weights[:unscored] = 0
    return weights


def row_lengths(config: Lengths) -> dict[str, int]:
    """The splits that every such task has, with their row lengths; the long ones are called length48, length64, ..."""
    return {**dict.fromkeys(("train", "validation", "test"), config.train_lengths[1]), **{f"length{length}": length for length in config.long_lengths}}


def draw_lengths(config: Lengths, split: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,): uniform as in training, or the one length of a long split."""
    if split.startswith("length"):
        return np.full(n, int(split.removeprefix("length")))
    return rng.integers(config.train_lengths[0], config.train_lengths[1] + 1, size=n)


def size(config: Sets, split: str) -> int:
    """The sequences of a split; what is not among the parameters is one of the long ones."""
    return int(getattr(config, split, config.long))


def cut(values: np.ndarray, lengths: np.ndarray, filler: float) -> np.ndarray:
    """`values` (N, L) with `filler` beyond each row's length (N,), in place."""
    values[np.arange(values.shape[1]) >= lengths[:, None]] = filler
    return values


def save(out: Path, split: str, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        with atomic(out / f"{split}.{name}.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def save_facts(out: Path, splits: Mapping[str, Mapping[str, Any]], **facts: Any) -> None:
    """`splits`: at least the "row_length" of each."""
    write_json(out / "facts.json", {**facts, "splits": splits})


def load(raw: Path, split: str, name: str) -> np.ndarray:
    """One stored array: `name` is values, length, floor, ..."""
    path = raw / f"{split}.{name}.npy"
    try:
        array: np.ndarray = np.load(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it (dvc repro)") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: is damaged ({error}); remove it and run the stage that makes it again") from error
    return array


def tokenize(config: Sets, raw: Path, out: Path) -> dict[str, Counts]:
    """The values as token rows: a value is its own id, beyond the length stands the pad. Returns the counts of each split.

    A task that has targets of its own gets a file "SPLIT.targets" beside every split, and `targets: true` in its header.
    """
    splits = {}
    names = list(read_json(raw / "facts.json")["splits"])
    for split in names:
        for name, stored in ((split, "values"), *([(f"{split}.targets", "targets")] if config.own_targets else [])):
            values = load(raw, split, stored)
            ids = np.where(values < 0, config.pad, values)
            splits[name] = tokens.write_split(out, name, [ids], config.vocab_size, row_length=ids.shape[1], rows=len(ids))
    tokenizer = {"kind": "integers", "pad": config.pad}
    facts: dict[str, Any] = {"pad": config.pad, "stream": asdict(config), **({"targets": True} if config.own_targets else {})}
    tokens.write_header(out, kind=config.kind, vocab_size=config.vocab_size, tokenizer=tokenizer, splits=splits, **facts)
    return {split: {key: splits[split][key] for key in ("rows", "row_length", "tokens")} for split in names}
