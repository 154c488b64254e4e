"""What should be readable inside a model at which tokens, because the task knows it: labels for linear probes.

With every label comes the type of its token, which a control task gives labels at random (Hewitt & Liang 2019, arXiv
1909.03368): whatever a probe makes of those, it has learned by heart. Where tokens are few the type includes the place.

Shapes: N sequences, T tokens, M places where something is read.
"""

from dataclasses import dataclass

import numpy as np

from picollm.analysis import _inputs, _probes, _targets_addition, _targets_text
from picollm.analysis._result import Skip, Subject
from picollm.analysis._target import Target

PER_FAMILY = 60  # sequences
ROWS = 200  # sequences of a task without families
STORIES, STORY = 120, 96  # and tokens of each: its beginning
SEEN = 3  # terms before a family can be known
MOST_CLASSES = 32  # of a label; of steps modulo 127 every one would be rare, and modular_arithmetic reads them as waves
RANDOM = "walk"  # the one family whose next value is not determined


@dataclass(frozen=True, eq=False)
class Readable:
    ids: np.ndarray  # (N, T)
    targets: dict[str, Target]


def readable(subject: Subject) -> Readable | Skip:
    if subject.is_text:
        found = _targets_text.stories(subject, STORIES, STORY)
        return Readable(*found) if found else Skip("the text has no annotations to read")
    kind = subject.tokens.header["kind"]
    if kind == "addition":
        return Readable(*_targets_addition.columns(subject, ROWS))
    if kind == "parity":
        return _parity(*_inputs.rows(subject, ROWS))
    if not _probes.families(subject):
        return Skip(f"nothing is annotated in sequences of {kind}")
    if subject.options.length < SEEN + 2:
        return Skip(f"reads what follows {SEEN} terms and more, interpret.length is {subject.options.length}")
    return _numbers(subject)


def _numbers(subject: Subject) -> Readable:
    """The family and, where there is one, the next value after every term from the fourth on; the step of arithmetic sequences."""
    names = _probes.families(subject)
    groups = [_probes.sequences(subject, name, PER_FAMILY) for name in names]
    ids = np.concatenate(groups)
    family = np.repeat(np.arange(len(names)), [len(group) for group in groups])
    N, T = ids.shape
    row, place = (axis.ravel() for axis in np.mgrid[:N, SEEN : T - 1])
    token = ids[row, place]
    known = family[row] != names.index(RANDOM)
    targets = {
        "family": Target(row, place, family[row], token),
        "next": Target(row[known], place[known], ids[row, place + 1][known], token[known]),
    }
    step = ids[:, 1] - ids[:, 0]
    arithmetic = family[row] == names.index("arithmetic")
    if len(np.unique(step[row][arithmetic])) <= MOST_CLASSES:
        targets["step"] = Target(row[arithmetic], place[arithmetic], step[row][arithmetic], token[arithmetic])
    return Readable(ids, targets)


def _parity(ids: np.ndarray, parity: np.ndarray) -> Readable:
    """After every bit from the second on. The type is place and bit: of two types alone a probe would learn any labels by heart."""
    N, T = ids.shape
    row, place = (axis.ravel() for axis in np.mgrid[:N, 1:T])
    return Readable(ids, {"parity": Target(row, place, parity[row, place], 2 * place + ids[row, place])})
