"""What a model is asked when its predictions are taken apart: sequences with the targets that can be known.

Shapes: N sequences, T tokens that are read.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from picollm.analysis import _probes
from picollm.analysis._result import Subject
from picollm.training.batches import IGNORED, stored, windows_at

SEQUENCES = 64  # of a family of numbers, or rows of another task
WINDOWS, LENGTH = 20, 128  # of a text: long enough to have met what comes back later
KNOWN = 2  # terms that say which sequence it is: what comes before the third is chance


@dataclass(frozen=True, eq=False)
class Asked:
    name: str  # a family, "text", or the kind of the task
    inputs: Tensor  # (N, T)
    targets: Tensor  # (N, T), IGNORED where nothing is asked

    @property
    def places(self) -> Tensor:
        """(N, T) bool: where something is."""
        return self.targets != IGNORED

    def means(self, values: np.ndarray) -> np.ndarray:
        """(..., M) values of the places in reading order -> (..., N): the mean of each sequence that has any."""
        counts = self.places.sum(1).numpy()
        starts = np.concatenate(([0], np.cumsum(counts[counts > 0])[:-1]))
        return np.asarray(np.add.reduceat(values, starts, -1) / counts[counts > 0])


def asked(subject: Subject) -> list[Asked]:
    """Each of options.sequence_types of numbers from the third term on, windows of a text, or test rows with the task's own targets."""
    if subject.is_text:
        stream, limit = subject.tokens.split(_probes.TEST), subject.model.max_length or LENGTH
        length = min(LENGTH, limit, len(stream) - 1)
        starts = np.linspace(0, len(stream) - 1 - length, min(WINDOWS, (len(stream) - 1) // length)).astype(np.int64)
        return [Asked("text", *windows_at(stream, starts, length))]
    if not _probes.families(subject):
        batch = stored(subject.tokens, _probes.TEST).batch(slice(SEQUENCES))
        return [Asked(str(subject.tokens.header["kind"]), *batch)]
    found = []
    for family in subject.options.sequence_types:
        rows = torch.from_numpy(_probes.sequences(subject, family, SEQUENCES))
        targets = rows[:, 1:].clone()
        targets[:, : KNOWN - 1] = IGNORED
        found.append(Asked(family, rows[:, :-1], targets))
    return found
