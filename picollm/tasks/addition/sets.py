"""The stored sets of an addition task, all but training's held out; its plateaus; and what its numbers cost in other bases.

length30: both operands have 30 digits. Stored beside the rows: chain, the columns of the longest carry chain, and lengths.
The floor is 0 nats and 100 %: the answer is a function of the operands.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from picollm.core import tokens
from picollm.core.files import read_json
from picollm.tasks import _rows
from picollm.tasks.addition import sequences
from picollm.tasks.addition.bases import tokens_per_problem
from picollm.tasks.addition.carries import longest_chain, plateaus
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows
from picollm.tasks.addition.sampling import exact, problems

FLOOR = {"loss": 0.0, "accuracy": 1.0}
BASES = (2, 4, 8, 10, 16, 32, 100)


def generate(config: Config, out: Path) -> dict[str, Any]:
    """Draw all sets into `out`; returns the floor, plateaus, tokens for the same numbers in other bases, and counts."""
    splits = ["train", "validation", "test", *(f"length{digits}" for digits in config.long_lengths)]
    counts, facts = {}, {}
    for split in splits:
        rng, width = _rows.set_generator(config, split), config.width(split)
        digits, lengths = _drawn(rng, config, split, width)
        values, targets = rows(config, digits, lengths)
        chain = longest_chain(digits, config.base) if config.operands == 2 else np.zeros(len(digits), np.int16)
        _rows.save(out, split, {"values": values, "targets": targets, "chain": chain, "lengths": lengths.astype(np.uint16)})
        counts[split] = {"sequences": len(values), "terms": int((values != config.pad).sum()), "scored": int((targets != config.pad).sum())}
        facts[split] = {"row_length": values.shape[1], "digits": width}
    _rows.save_facts(out, facts, floor=FLOOR["loss"])
    largest = config.largest or config.base ** config.digits[1] - 1
    if config.sequences:
        settings = sequences.Settings(high=largest, sequences=config.sequences, base=config.base, operands=config.operands, seed=config.seed)
        sequences.write(settings, out / "sequences.txt")
    return {
        "floor": FLOOR,
        "lengths": {str(length): FLOOR for length in config.long_lengths},
        "controls": {"uniform": {"loss": float(np.log(config.base)), "accuracy": 1 / config.base}},
        "trained": config.digits[1],  # digits: what lengths beyond are told by
        "plateaus": _plateaus(config),
        "tokens_per_problem": {str(base): tokens_per_problem(base, largest) for base in sorted({*BASES, config.base})},
        "splits": counts,
    }


def _drawn(rng: np.random.Generator, config: Config, split: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    n = _rows.size(config, split)
    own = config.operand_digits(split)
    if own is None:
        return problems(rng, config, n, width, held=split != "train")
    lengths = np.full((n, config.operands), own, np.int16)
    return exact(rng, config.base, lengths, width), lengths  # so many digits beyond training, or so few problems, that hold-out says nothing


def _plateaus(config: Config) -> dict[str, float]:
    """{columns looked back: share of all pairs that are right}, of two operands."""
    if config.operands != 2:
        return {}
    pairs = config.base ** (2 * config.digits[1])
    return {str(back): count / pairs for back, count in enumerate(plateaus(config.base, config.digits[1]))}


def tokenize(config: Config, raw: Path, out: Path) -> dict[str, Any]:
    """As _rows.tokenize; the task stands in the tokenizer too, so that a checkpoint says by itself how its problems are written."""
    counts = _rows.tokenize(config, raw, out)
    header = read_json(out / "header.json")
    header["tokenizer"]["addition"] = asdict(config)
    rest = {key: value for key, value in header.items() if key != "format"}
    tokens.write_header(out, **rest)
    return counts
