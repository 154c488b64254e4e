"""Token embeddings and an order in which they might lie: on a line, by rank or by distance.

Shapes: N tokens, D model width, C components.
"""

import numpy as np
from torch import nn

from picollm.analysis import _bootstrap, _probes
from picollm.analysis._nulls import permutations
from picollm.analysis._ranks import standard_ranks
from picollm.analysis._result import Subject
from picollm.models import Model

NUMBERS = ("numeric", "urn")  # tasks whose ids are the values that they stand for
COMPONENTS = 3  # where a line is looked for: in texts the first component is often something else
PAIRED = 400  # tokens of which all pairs are compared


def ordered(subject: Subject) -> tuple[np.ndarray, np.ndarray] | None:
    """The ids of tokens (N,), and what they are ordered by (N,): numbers by their value, tokens of a text, most frequent first, by how often they occur.

    None where ids are names. Tokens that never occur still have their random first weights, and are left out.
    """
    if not isinstance(getattr(subject.model, "embed", None), nn.Embedding):
        return None
    if subject.is_text:
        counts = _probes.token_counts(subject)
        ids = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        return ids, np.log10(counts[ids])
    if subject.tokens.header["kind"] not in NUMBERS:
        return None
    pad = subject.tokens.header["tokenizer"]["pad"]
    ids = np.array([token for token in range(subject.model.vocab_size) if token != pad])
    return ids, ids.astype(np.float64)


def embeddings(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, D), in double precision."""
    assert isinstance(model.embed, nn.Embedding)
    return np.asarray(model.embed.weight.detach().cpu().numpy()[ids], np.float64)


def principal_components(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> the scores (N, D) and the share of variance (D,) of each component, largest first."""
    x = x - x.mean(0)
    _, variance, axes = np.linalg.svd(x.T @ x, hermitian=True)  # of the (D, D) scatter: a vocabulary may have 50,000 rows
    sign = np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(1)] < 0, -1, 1)  # else the sign were the library's mood
    return x @ (axes * sign[:, None]).T, variance / max(variance.sum(), np.finfo(float).tiny)


def correlations(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    """scores (N, C), order (N,) -> (C,): the absolute rank correlation of each component with the order."""
    ranks = np.stack([standard_ranks(column) for column in scores.T])
    return np.abs(ranks @ standard_ranks(order)) / len(order)


def on_a_line(scores: np.ndarray, order: np.ndarray) -> tuple[int, float, _bootstrap.Interval]:
    """Which of the first components follows the order best, how well, and the interval of that over tokens, the component staying what it is."""
    found = correlations(scores[:, :COMPONENTS], order)
    best = int(found.argmax())
    column = scores[:, [best]]
    ends = _bootstrap.jackknife(lambda rows: float(correlations(column[rows], order[rows])[0]), len(order))
    return best, float(found[best]), {"low": max(0.0, ends["low"]), "high": min(1.0, ends["high"])}


def shuffled_line(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(SHUFFLES,): the same of tokens in random order, each choosing its best component too."""
    ranks = np.stack([standard_ranks(column) for column in scores[:, :COMPONENTS].T])
    other = standard_ranks(order)
    return np.array([np.abs(ranks @ other[shuffle]).max() / len(order) for shuffle in permutations(len(order), seed=1)])


class Distances:
    """Do tokens lie as far apart as their values do? The correlation of all distances with all differences (Mantel 1967), which asks no component."""

    def __init__(self, x: np.ndarray, order: np.ndarray) -> None:
        """Of x (N, D) the first PAIRED tokens; a text's are its most frequent ones."""
        x, order = x[:PAIRED], order[:PAIRED]
        squares = (x**2).sum(1)
        self.apart = np.sqrt((squares[:, None] + squares - 2 * x @ x.T).clip(0))
        self.differences = np.abs(order[:, None] - order)
        self.n = len(x)

    def correlation(self, rows: np.ndarray | None = None, order: np.ndarray | None = None) -> float:
        """Of some tokens (those of `rows`), or with the order of values shuffled (N,)."""
        apart = self.apart if rows is None else self.apart[np.ix_(rows, rows)]
        differences = self.differences if rows is None else self.differences[np.ix_(rows, rows)]
        if order is not None:
            differences = differences[np.ix_(order, order)]
        pairs = np.triu_indices(len(apart), 1)
        a, b = apart[pairs] - apart[pairs].mean(), differences[pairs] - differences[pairs].mean()
        size = float(np.sqrt((a**2).sum() * (b**2).sum()))
        return float((a * b).sum() / size) if size > 0 else 0.0

    def shuffled(self) -> np.ndarray:
        return np.array([self.correlation(order=order) for order in permutations(self.n, seed=1)])

    def interval(self) -> _bootstrap.Interval:
        ends = _bootstrap.jackknife(lambda rows: self.correlation(rows), self.n)
        return {"low": max(-1.0, ends["low"]), "high": min(1.0, ends["high"])}
