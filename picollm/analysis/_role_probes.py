"""The sequences that a head's role is read from: the test split's own, and random ones that repeat themselves.

Whoever looks for the token after an earlier equal one looks a fixed number of places back in a sequence that repeats with a fixed
period, and does what the task asks in one that the task repeats. So the repeated sequences are random tokens (Olsson et al. 2022,
arXiv 2209.11895), and every one has a period of its own.

Shapes: N sequences, T tokens.
"""

from dataclasses import dataclass

import numpy as np

from picollm.analysis._result import Subject
from picollm.tokenizers._shared import from_json
from picollm.training.batches import Batch

SEED = 6
MOST = 2_000_000
FEWEST_TOKENS = 6  # different ones that a vocabulary must have for random sequences of them


@dataclass(frozen=True, eq=False)
class Probes:
    stored: np.ndarray  # (N, T) ids
    repeated: np.ndarray | None  # (N, T) ids, of the same length; None: such sequences would be none of the task's, and the stored ones serve
    separators: np.ndarray  # ids of what ends a document, a number or a clause; there may be none
    numeric: bool  # are terms predicted from the two before them?


def probes(subject: Subject, examples: Batch) -> Probes:
    """Of the sequences that ablations are measured on."""
    stored = examples.inputs.numpy()
    return Probes(stored, _repeated(subject, *stored.shape), _separators(subject), subject.tokens.header["kind"] == "numeric")


def _repeated(subject: Subject, N: int, T: int) -> np.ndarray | None:
    """Tokens that training shows, all different within a period; a text begins with its end token."""
    if getattr(subject.model.config, "position_ids", "sequential") != "sequential":  # random digits without delimiters are one long number
        return None
    header = subject.tokens.header
    end = [from_json(header["tokenizer"]).end] if subject.is_text else []
    known = np.setdiff1d(_known(subject), end or [header["tokenizer"]["pad"]])
    if len(known) < FEWEST_TOKENS:
        return None
    rng = np.random.Generator(np.random.PCG64(SEED))
    free = T - len(end)
    longest = min(len(known), free // 2)
    rows = np.empty((N, T), np.int64)
    rows[:, : len(end)] = end
    for row in rows:
        period = rng.permutation(known)[: rng.integers(2 * longest // 3, longest + 1)]
        row[len(end) :] = np.resize(period, free)
    return rows


def _known(subject: Subject) -> np.ndarray:
    """(K,): the ids that training shows, in its first MOST tokens."""
    return np.unique(subject.tokens.split("train").reshape(-1)[:MOST]).astype(np.int64)


def _separators(subject: Subject) -> np.ndarray:
    header = subject.tokens.header
    if header["kind"] == "addition":
        return np.array([subject.model.vocab_size - 2])  # the delimiter stands before the pad
    if not subject.is_text:
        return np.empty(0, np.int64)
    tokenizer, seen = from_json(header["tokenizer"]), _known(subject)
    return np.array([token for token in seen if token == tokenizer.end or _is_mark(tokenizer.decode([int(token)]))], np.int64)


def _is_mark(text: str) -> bool:
    """Is it nothing but punctuation, or a break of the line?"""
    text = text.strip(" ")
    return bool(text) and "\ufffd" not in text and not any(c.isalnum() for c in text)
