"""What a number is held against: models that never saw data, and labels that say nothing."""

from collections.abc import Iterator

import numpy as np
import torch

from picollm.analysis._result import Subject
from picollm.models import Model

SHUFFLES = 200
FIRST_SEED = 1_000_000  # no run starts from the same weights


def untrained(subject: Subject) -> Iterator[Model]:
    """The same architecture with fresh weights, as often as the options say; one in memory at a time."""
    model = subject.model
    for seed in range(subject.options.untrained):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(FIRST_SEED + seed)
            fresh = type(model)(model.config, model.vocab_size)
        yield fresh.eval().to(model.device)


def permutations(n: int, seed: int) -> Iterator[np.ndarray]:
    """SHUFFLES orders (n,), the same for the same seed."""
    rng = np.random.Generator(np.random.PCG64([seed, n]))
    for _ in range(SHUFFLES):
        yield rng.permutation(n)


def family_wise(found: np.ndarray, null: np.ndarray) -> np.ndarray:
    """found (...), such as (L, H), null (models, ...) of the same measure -> the p of each against the highest of each null model (...).

    Whoever looks through all heads for the highest finds a high one in an untrained model too (Westfall & Young 1993, max T).
    """
    highest = null.reshape(len(null), -1).max(1)
    return np.asarray((1 + (highest[:, None] >= found.reshape(1, -1)).sum(0)).reshape(found.shape) / (1 + len(null)))
