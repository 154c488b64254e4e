"""Problems as rows of ids with their targets: `+1342+879+2221+`.

A target stands as many tokens before its own place as one pass gives answer tokens (2 in the example, P the pad, units first):

    ids      +12+873+993+PPPP
    targets  PPPPPP993+PPPPPP

Only the answer is a target, and what ends it, unless it comes in one pass.

Shapes: N problems, K operands, W digits, A digits of the answer, T tokens. Digits stand units first.
"""

import numpy as np

from picollm.tasks.addition.carries import add
from picollm.tasks.addition.config import Config


def written(config: Config, digits: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K, W) digits, zero beyond `lengths` (N, K) -> (N, T) whole rows of int8 ids and (N,) where the answers start."""
    N, K, W = digits.shape
    A = config.answer_width(W)
    answer = add(digits, config.base, A)
    step = 1 if config.order == "reversed" else -1
    if config.padding != "none":
        ids = np.full((N, 2 + K * (W + 1) + A), config.delimiter, np.int8)
        for k in range(K):
            ids[:, 1 + k * (W + 1) :][:, :W] = digits[:, k, ::step]
        ids[:, -1 - A : -1] = answer[:, ::step]
        return ids, np.full(N, ids.shape[1] - 1 - A)
    longest = A - (answer[:, ::-1] != 0).argmax(1)
    sizes = np.column_stack((lengths, np.where(answer.any(1), longest, 1)))  # (N, K + 1)
    starts = 1 + np.cumsum(sizes + 1, 1) - (sizes + 1)
    ids = np.full((N, int((starts[:, -1] + sizes[:, -1]).max()) + 1), config.pad, np.int8)
    ids[:, 0] = config.delimiter
    every = np.arange(N)
    for k, number in enumerate([*digits.swapaxes(0, 1), answer]):
        row, place = np.nonzero(np.arange(number.shape[1]) < sizes[:, k, None])
        at = place if step == 1 else sizes[row, k] - 1 - place
        ids[row, starts[row, k] + at] = number[row, place]
        ids[every, starts[:, k] + sizes[:, k]] = config.delimiter
    return ids, starts[:, -1]


def shifted(ids: np.ndarray, starts: np.ndarray, ahead: int, pad: int) -> np.ndarray:
    """(N, T) whole rows -> (N, T): what each token is followed by `ahead` tokens later, where that belongs to the answer, else the pad."""
    targets = np.full_like(ids, pad)
    T = ids.shape[1]
    inside = np.arange(ahead, T) >= starts[:, None]
    targets[:, : T - ahead] = np.where(inside, ids[:, ahead:], pad)
    return targets


def rows(config: Config, digits: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) ids that a model reads, and their targets."""
    ids, starts = written(config, digits, lengths)
    ahead = config.ahead(digits.shape[2])
    if isinstance(config.tokens_per_pass, str):
        ids = ids[:, :-1]
    return ids[:, : ids.shape[1] - ahead], shifted(ids, starts, ahead, config.pad)[:, : ids.shape[1] - ahead]
