"""`3seqs`: lines of numbers in three deterministic families, one after the other, as a corpus small enough to know everything about.

A line has LENGTH numbers separated by spaces: counting ("7 8 9 ..."), steps of 2 to 9 ("4 7 10 ..."), or a cycle of three different
numbers ("5 0 8 5 0 8 ..."). What a family leaves open is drawn uniformly, so that the probability of a line is known.
"""

import math
from collections.abc import Iterator

import numpy as np

LENGTH = 32
STARTS = 1000  # a line begins with a number below
STEPS = range(2, 10)
CYCLED = 100  # a cycle's numbers are below
LINES = 600  # where the task sets no limit


def lines(seed: int, count: int) -> Iterator[tuple[str, float]]:
    """Each line and its bits, -log2 p. Line n depends on n and the seed alone; the first counts from 0."""
    for number in range(count):
        generator = np.random.Generator(np.random.PCG64([seed, number]))
        family = number % 3
        if family == 2:
            cycle = generator.choice(CYCLED, 3, replace=False)
            terms, choices = np.tile(cycle, LENGTH)[:LENGTH], math.perm(CYCLED, 3)
        else:
            start = int(generator.integers(STARTS)) if number else 0
            step = int(generator.integers(STEPS.start, STEPS.stop)) if family else 1
            terms, choices = start + step * np.arange(LENGTH), STARTS * (len(STEPS) if family else 1)
        yield " ".join(map(str, terms)), math.log2(3 * choices)
