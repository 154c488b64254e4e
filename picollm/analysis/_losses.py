"""What a run's own test data cost a model, sequence by sequence: what an ablation is measured on.

The sequences are equally long and without padding: then another sequence's values, or their mean, can stand in for a sequence's own
at every place.

Shapes: N sequences, T tokens.
"""

import numpy as np
import torch
import torch.nn.functional as F

from picollm.analysis._probes import TEST
from picollm.analysis._result import Skip, Subject
from picollm.models import Model
from picollm.nn.taps import Tap
from picollm.training.batches import IGNORED, Batch, from_rows, stored, windows_at

CONTEXT = 64  # tokens of a window of text: long enough for a role, and no training has shorter contexts
MOST, TOKENS = 64, 2048  # sequences, and tokens of them all
FEWEST = 4  # sequences to say anything by
LOGITS = 1 << 22  # of a pass: 16 MiB, whatever the vocabulary


def examples(subject: Subject) -> Batch | Skip:
    """Up to MOST different sequences of the test split with their targets, of any kind of task: (N, T) ids, (N, T) targets."""
    batch = _windows(subject) if subject.is_text else first(_rows(subject), TOKENS)
    n = len(batch.inputs)
    return batch if n >= FEWEST else Skip(f"needs {FEWEST} different test sequences of one length, there are {n}")


def first(batch: Batch, tokens: int) -> Batch:
    """As many of its sequences as make up so many tokens, but at least FEWEST."""
    count = max(FEWEST, tokens // batch.inputs.shape[1])
    return Batch(batch.inputs[:count], batch.targets[:count])


def _windows(subject: Subject) -> Batch:
    """Spread evenly over the text; it may repeat itself."""
    stream = subject.tokens.split(TEST)
    context = min(CONTEXT, subject.model.max_length or CONTEXT, len(stream) - 1)
    starts = np.linspace(0, len(stream) - 1 - context, min(MOST, TOKENS // context, (len(stream) - 1) // context)).astype(np.int64)
    batch = windows_at(stream, starts, context)
    chosen = _different(batch.inputs.numpy())
    return Batch(batch.inputs[chosen], batch.targets[chosen])


def _rows(subject: Subject) -> Batch:
    """A task with targets of its own asks for something at the end of its sequences, so they stay whole: those of the most frequent length.
    Otherwise each is cut to the median length."""
    rows = stored(subject.tokens, TEST)
    lengths = (rows.ids != rows.pad).sum(1)
    if rows.targets is None:
        length = int(np.median(lengths))
        chosen = np.flatnonzero(lengths >= length)
    else:
        counts = np.bincount(lengths)
        length = len(counts) - 1 - int(counts[::-1].argmax())  # of equally frequent ones the longest
        chosen = np.flatnonzero((lengths == length) & (rows.targets[:, :length] != rows.pad).any(1))
    ids = rows.ids[chosen, :length]
    some = _different(ids)
    return from_rows(ids[some], rows.pad, None if rows.targets is None else rows.targets[chosen[some], :length])


def _different(ids: np.ndarray) -> np.ndarray:
    """(N, T) -> the numbers of the first MOST rows that are no copies of others, which would make n a lie."""
    return np.sort(np.unique(ids, axis=0, return_index=True)[1])[:MOST]


def per_sequence(model: Model, batch: Batch, tap: Tap | None = None) -> np.ndarray:
    """(N,) nats: the mean over each sequence's targets."""
    with torch.no_grad():
        logits = model(batch.inputs.to(model.device), tap=tap).float()
        targets = batch.targets.to(model.device)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED).view(targets.shape)
        means: np.ndarray = (nats.double().sum(1) / (targets != IGNORED).sum(1)).cpu().numpy()
    return means


def parts(model: Model, batch: Batch) -> list[slice]:
    """Slices of the sequences that a pass has memory for."""
    N, T = batch.inputs.shape
    size = max(1, LOGITS // (T * model.vocab_size))
    return [slice(start, start + size) for start in range(0, N, size)]
