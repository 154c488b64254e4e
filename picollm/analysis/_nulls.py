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
