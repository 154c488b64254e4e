"""The sequences that two models are shown side by side: some of every kind that their task has, from the sets that nobody trains on.

Shapes: N sequences, T tokens.
"""

from dataclasses import dataclass, replace

import numpy as np

from picollm.analysis import _probes
from picollm.analysis._result import Subject
from picollm.tokenizers._shared import from_json
from picollm.training.batches import IGNORED, stored

EACH = 2  # sequences of a family
ROWS = 6  # of a task without families
TEXTS = 5  # beginnings of stories beside the prompt
WINDOW = 32  # tokens of a text: as many as can be read along the side of a map
LONGEST = 64  # tokens of a stored row, likewise with some patience
REPEATED = 12  # tokens at random, shown twice: only the context says how they go on, so that heads that copy from it stand out


@dataclass(frozen=True, eq=False)
class Probe:
    name: str
    ids: np.ndarray  # (T,)
    asked: np.ndarray  # (T,): what should come after each token, IGNORED where nothing is asked


def probes(subject: Subject) -> list[Probe]:
    if subject.is_text:
        return _texts(subject)
    if families := _probes.families(subject):
        found = [(family, _probes.sequences(subject, family, EACH)) for family in families]
        return [_continued(f"{family}, sequence {n}", ids) for family, sequences in found for n, ids in enumerate(sequences, 1)]
    return _rows(subject)


def _texts(subject: Subject) -> list[Probe]:
    end = from_json(subject.tokens.header["tokenizer"]).end
    beginnings = _beginnings(subject, end)
    few = np.setdiff1d(beginnings, [end])
    rng = np.random.Generator(np.random.PCG64(0))
    again = np.tile(rng.choice(few, min(REPEATED, len(few), beginnings.shape[1] // 2), replace=False), 2)
    texts = [_continued(f"test text {n}", ids) for n, ids in enumerate(beginnings, 1)]
    return [_continued("the prompt", _probes.prompt(subject)), *texts, _continued(f"{len(again) // 2} tokens at random, twice", again)]


def _beginnings(subject: Subject, end: int) -> np.ndarray:
    """(N, T): the first tokens of documents of the test split, the end token before them included; windows where it has too few documents."""
    stream = subject.tokens.split(_probes.TEST)
    length = min(WINDOW, subject.model.max_length or WINDOW, len(stream))
    starts = np.flatnonzero(stream == end)
    starts = starts[starts + length <= len(stream)][:TEXTS]
    if len(starts) == TEXTS:
        return np.asarray(stream[starts[:, None] + np.arange(length)], np.int64)
    return _probes.windows(replace(subject, options=replace(subject.options, length=length)), TEXTS)


def _rows(subject: Subject) -> list[Probe]:
    """Of a task whose sequences are of one kind, with the targets that it has for them."""
    rows = stored(subject.tokens, _probes.TEST)
    batch = rows.batch(slice(ROWS))
    found = []
    for n, (ids, asked) in enumerate(zip(batch.inputs.numpy(), batch.targets.numpy(), strict=True), 1):
        T = min(LONGEST, subject.model.max_length or LONGEST, int((ids != rows.pad).sum()))
        found.append(Probe(f"test sequence {n}", ids[:T], asked[:T]))
    return found


def _continued(name: str, ids: np.ndarray) -> Probe:
    """Every token asks for the one after it."""
    return Probe(name, ids, np.append(ids[1:], IGNORED))
