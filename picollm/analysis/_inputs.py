"""What models are shown when a measure needs no labels: sequences of any task, as rows of equal length without padding.

Shapes: N sequences, T tokens.
"""

from dataclasses import dataclass

import numpy as np

from picollm.analysis import _probes
from picollm.analysis._drawing import label
from picollm.analysis._result import Subject

MANY = 5  # families in a numeric task: as many sequences of a task without
WHOLE = "addition"  # the task whose rows say nothing when they are cut


@dataclass(frozen=True, eq=False)
class Input:
    name: str  # of metrics: the family, "text", or the kind of the task
    ids: np.ndarray  # (N, T), no two rows alike
    labels: list[str]  # of the first row's tokens


def inputs(subject: Subject, most: int) -> list[Input]:
    """Up to `most` sequences of each of options.sequence_types, or windows of a text, or rows of the test split."""
    if subject.is_text:
        ids = np.unique(_probes.windows(subject, most), axis=0)
        return [Input("text", ids, [label(text) for text in _probes.spellings(subject, ids[0])])]
    if _probes.families(subject):
        return [_of_numbers(name, _probes.sequences(subject, name, most)) for name in subject.options.sequence_types]
    return [_of_numbers(str(subject.tokens.header["kind"]), rows(subject, most)[0])]


def mixed(subject: Subject, most: int) -> np.ndarray:
    """(N, T): up to `most` sequences of every family in one array; of a task without families as many in all."""
    families = [] if subject.is_text else _probes.families(subject)
    if families:
        return np.concatenate([_probes.sequences(subject, name, most) for name in families])
    return inputs(subject, MANY * most)[0].ids


def rows(subject: Subject, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) rows of the test split and what each token should give, the pad where that is not asked.

    Of the length that most of them have, or cut to options.length where a part is a sequence too.
    """
    stored, targets = _stored(subject)
    pad = subject.tokens.header["pad"]
    lengths = (stored != pad).sum(1)
    whole = subject.tokens.header["kind"] == WHOLE
    T = int(np.bincount(lengths).argmax()) if whole else min(subject.options.length, int(lengths.max()))
    chosen = np.flatnonzero(lengths == T if whole else lengths >= T)
    _, first = np.unique(stored[chosen, :T], axis=0, return_index=True)
    chosen = chosen[np.sort(first)[:most]]
    return stored[chosen, :T], targets[chosen, :T]


def _stored(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """(N, L) twice: the test split, and its targets: the task's own, or what comes next."""
    stored = np.asarray(subject.tokens.split(_probes.TEST), np.int64)
    if subject.tokens.header.get("targets"):
        return stored, np.asarray(subject.tokens.split(f"{_probes.TEST}.targets"), np.int64)
    return stored, np.pad(stored[:, 1:], ((0, 0), (0, 1)), constant_values=subject.tokens.header["pad"])


def asked(subject: Subject, ids: np.ndarray) -> np.ndarray:
    """(N, T) of `mixed` -> (N, T): what each token should give, -1 where nothing is asked."""
    if not subject.is_text and subject.tokens.header.get("targets"):
        found, targets = rows(subject, len(ids))
        assert np.array_equal(found, ids), "sequences of another choice"
        return np.where(targets == subject.tokens.header["pad"], -1, targets)
    return np.pad(ids[:, 1:], ((0, 0), (0, 1)), constant_values=-1)


def _of_numbers(name: str, ids: np.ndarray) -> Input:
    return Input(name, ids, [str(token) for token in ids[0]])
