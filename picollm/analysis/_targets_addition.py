"""Labels for probes on addition, read where a digit of the answer is asked for: its column's carry in, carry out, and sum of digits.

Shapes: N problems, T tokens, K operands, W columns, A digits of the answer, M places. Columns are counted from the units.
"""

import numpy as np

from picollm.analysis import _inputs
from picollm.analysis._result import Subject
from picollm.analysis._target import Target


def columns(subject: Subject, most: int) -> tuple[np.ndarray, dict[str, Target]]:
    """(N, T) ids of up to `most` problems, and the targets of all their columns.

    The type of a token is itself and its column: of the ten digits alone a probe would learn any labels by heart.
    """
    c = subject.tokens.header["tokenizer"]["addition"]
    ids, asked = _inputs.rows(subject, most)
    T = ids.shape[1]
    base, reverse = int(c.get("base", 10)), c.get("order", "reversed") == "reversed"
    digits = np.stack([_digits(row, base, int(c.get("operands", 2)), T, reverse) for row in ids])  # (N, K, T): as many columns as will ever do
    carry, sums = carries(digits, base)
    row, place = np.nonzero(asked < base)
    column = np.concatenate([_count(int(n), reverse) for n in np.bincount(row, minlength=len(ids))])
    token = column * (base + 2) + ids[row, place]
    inside = digits.shape[2]
    labels = {"carry_in": carry[row, column], "carry_out": carry[row, np.minimum(column + 1, inside)], "digit_sum": sums[row, column]}
    keep = {"carry_in": column > 0, "carry_out": column < column.max(), "digit_sum": column < column.max()}
    return ids, {name: Target(row[keep[name]], place[keep[name]], label[keep[name]], token[keep[name]]) for name, label in labels.items()}


def carries(digits: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, K, W) -> the carry into every column and out of the last one (N, W + 1), and the sums of digits alone (N, W)."""
    sums = digits.sum(1)
    carry = np.zeros((len(sums), sums.shape[1] + 1), np.int64)
    for column in range(sums.shape[1]):
        carry[:, column + 1] = (sums[:, column] + carry[:, column]) // base
    return carry, sums


def _digits(row: np.ndarray, base: int, operands: int, width: int, reverse: bool) -> np.ndarray:
    """(T,) -> (K, width), units first: what stands between the first delimiters, zeros beyond."""
    ends = np.flatnonzero(row == base)
    result = np.zeros((operands, width), np.int64)
    for number in range(operands):
        start = ends[number] + 1
        end = ends[number + 1] if number + 1 < len(ends) else len(row)
        written = row[start:end] if reverse else row[start:end][::-1]
        result[number, : len(written)] = written
    return result


def _count(n: int, reverse: bool) -> np.ndarray:
    """The columns of n answer digits in the order in which they are asked for."""
    return np.arange(n) if reverse else np.arange(n)[::-1]
