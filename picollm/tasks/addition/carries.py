"""Sums, the carries in them, and what a model that sees only some of them gets right: exact plateaus of learning.

A chain begins where a column makes a carry by itself, and goes on through columns that only pass it on (sums of base - 1).
A model that looks back m columns for a carry is right exactly on the pairs whose longest chain is at most m. Of the 10^8
pairs of 0..9999 these are 9.1506, 86.7025, 99.1000, 99.9550 and 100 %, and a learning curve that rests on one of these says
which circuit it has found. Carries as what addition circuits are made of: arXiv 2310.13121, 2402.02619.

Shapes: N problems, K operands, W digits, A digits of the answer. Digits stand units first.
"""

import numpy as np


def add(digits: np.ndarray, base: int, answer_width: int) -> np.ndarray:
    """(N, K, W) -> (N, A) int8."""
    N, _, W = digits.shape
    result = np.empty((N, answer_width), np.int8)
    carry = np.zeros(N, np.int16)
    columns = digits.sum(1, dtype=np.int16)  # (N, W)
    for k in range(answer_width):
        total = carry + columns[:, k] if k < W else carry
        carry = total // base
        result[:, k] = total - carry * base
    assert not carry.any(), "the answer has more digits than that"
    return result


def longest_chain(digits: np.ndarray, base: int) -> np.ndarray:
    """(N, 2, W) -> (N,) int16: columns of the longest carry chain of each pair, 0 where nothing carries."""
    columns = digits.sum(1, dtype=np.int16)
    chain = np.zeros(len(digits), np.int16)
    longest = chain.copy()
    for column in columns.T:
        passed = (column == base - 1) & (chain > 0)
        chain = np.where(column >= base, 1, np.where(passed, chain + 1, 0)).astype(np.int16)
        np.maximum(longest, chain, out=longest)
    return longest


def plateaus(base: int, width: int) -> list[int]:
    """[m]: how many of the base^(2 width) ordered pairs have no chain above m = 0 .. width: counted column by column, in whole numbers."""
    ends, passes = base * (base + 1) // 2 - base, base  # pairs of digits with sums below base - 1, and just that
    makes = base * base - ends - passes
    counts = []
    for most in range(width + 1):
        chains = [1, *[0] * most]  # pairs so far, by the length of the chain that is still open
        for _ in range(width):
            total, free = sum(chains), chains[0]
            longer = [passes * chains[c - 1] for c in range(2, most + 1)]
            chains = [ends * total + passes * free, *([makes * total] if most else []), *longer]
        counts.append(sum(chains))
    return counts
