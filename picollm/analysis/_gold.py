"""Where the grammar says that a token of a fable should look, and how much of its attention each head puts there.

Shapes: N stories, M queries, K heads of all layers, L layers, H heads, B stories at a time, T tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from picollm.analysis._nulls import SHUFFLES
from picollm.analysis._stories import Annotated
from picollm.nn.decoder import attention_matrices

BATCH = 8  # stories whose matrices are held at a time
SEED = 8
EXCHANGES = 10  # of half of all distances with the other half, until an order counts as another one
TINY = 1e-12  # a row without any weight stays one
Span = tuple[int, int]


@dataclass(frozen=True)
class Query:
    story: int
    token: int  # that looks
    target: Span
    rivals: tuple[Span, ...]


@dataclass(frozen=True, eq=False)
class Looks:
    """What the heads give each query's tokens so far: `sums` (M, K, T + 1), the weight before each token, rows adding up to 1."""

    queries: list[Query]
    sums: np.ndarray

    @cached_property
    def tokens(self) -> np.ndarray:
        return np.array([query.token for query in self.queries])

    @cached_property
    def stories(self) -> np.ndarray:
        return np.array([query.story for query in self.queries])

    @cached_property
    def targets(self) -> np.ndarray:
        return np.array([query.target for query in self.queries])


def queries(truth: dict[str, Any], story: int, kind: str) -> Iterator[Query]:
    """Those of a story whose target lies behind them, complete."""
    ahead = kind.endswith(".ahead")
    for word, target, rivals in _related(truth, kind.removesuffix(".ahead")):
        token = word[0] - 1 if ahead else word[1] - 1
        if target[1] <= token:
            yield Query(story, token, target, tuple(rival for rival in rivals if rival[1] <= token))


def _related(truth: dict[str, Any], kind: str) -> Iterator[tuple[Span, Span, list[Span]]]:
    """(word, target, rivals)."""
    mentions = truth["mentions"]
    if kind == "antecedent":
        for mention in mentions:
            if mention["form"] == "pronoun" and mention["antecedent"] is not None:
                others = [other for other in mentions if other["end"] <= mention["start"] and other["character"] != mention["character"]]
                yield _span(mention), _span(mentions[mention["antecedent"]]), [_span(other) for other in others]
    for relation in truth["relations"]:
        if kind == "subject" and relation["kind"] == "agreement":
            yield tuple(relation["verb"]), tuple(relation["head"]), [tuple(noun) for noun in relation["attractors"]]
        if kind == "negation" and relation["kind"] == "negation" and relation["scope"]:
            start, end = relation["cue"]
            before = [(2 * start - end, start)] if 2 * start >= end else []
            for token in range(*relation["scope"]):
                yield (token, token + 1), (start, end), before  # type: ignore[misc]


def _span(mention: dict[str, Any]) -> Span:
    return mention["start"], mention["end"]


def looks(model: Any, stories: Annotated, asked: Mapping[str, list[Query]]) -> dict[str, Looks]:
    """Of all kinds at once: the matrices are what costs."""
    T, K = stories.ids.shape[1], model.config.depth * model.config.n_head
    sums = {kind: np.zeros((len(own), K, T + 1)) for kind, own in asked.items()}
    for start in range(0, len(stories.ids), BATCH):
        matrices = attention_matrices(model, torch.from_numpy(stories.ids[start : start + BATCH]).to(model.device))  # (L, B, H, T, T)
        for kind, own in asked.items():
            rows = [m for m, query in enumerate(own) if start <= query.story < start + BATCH]
            sizes = matrices[:, [own[m].story - start for m in rows], :, [own[m].token for m in rows]].abs()  # (M, L, H, T): indices apart come first
            weights = sizes / sizes.sum(-1, keepdim=True).clamp_min(TINY)
            sums[kind][rows, :, 1:] = weights.flatten(1, 2).double().cumsum(-1).cpu().numpy()
    return {kind: Looks(own, sums[kind]) for kind, own in asked.items()}


class Score:
    """The share of every head on one span of each query, (M,) starts and ends, less what uniform attention gives, of what is left to 1."""

    def __init__(self, found: Looks, starts: np.ndarray, ends: np.ndarray) -> None:
        rows, chance = np.arange(len(starts)), (ends - starts) / (found.tokens + 1)
        self.above = found.sums[rows, :, ends] - found.sums[rows, :, starts] - chance[:, None]  # (M, K)
        self.room = 1 - chance  # (M,)

    def value(self) -> np.ndarray:
        """(K,)."""
        return np.asarray(self.above.sum(0) / self.room.sum())


def score(found: Looks) -> Score:
    return Score(found, found.targets[:, 0], found.targets[:, 1])


def permuted(found: Looks) -> np.ndarray:
    """(SHUFFLES, K): the scores where the distances to the targets, and their lengths, have changed places among the queries.

    All distances stay, so that a head that knows nothing else scores the same: two are exchanged wherever both then lie behind their query.
    """
    back, length = found.tokens - found.targets[:, 0], found.targets[:, 1] - found.targets[:, 0]
    rng = np.random.Generator(np.random.PCG64(SEED))
    given, scores = np.arange(len(back)), []
    for _ in range(SHUFFLES):
        for _ in range(EXCHANGES):
            first, second = rng.permutation(len(back))[: len(back) // 2 * 2].reshape(2, -1)
            fits = (back[given[second]] <= found.tokens[first]) & (back[given[first]] <= found.tokens[second])
            first, second = first[fits], second[fits]
            given[first], given[second] = given[second], given[first]
        starts = found.tokens - back[given]
        scores.append(Score(found, starts, starts + length[given]).value())
    return np.array(scores)


def preference(found: Looks, head: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the queries with rivals, (m,) each: the head's weight on a token of the target, that and on a token of the rivals, and the stories."""
    own = [m for m, query in enumerate(found.queries) if query.rivals]
    target, both = np.zeros(len(own)), np.zeros(len(own))
    for place, m in enumerate(own):
        query, sums = found.queries[m], found.sums[m, head]
        target[place] = (sums[query.target[1]] - sums[query.target[0]]) / (query.target[1] - query.target[0])
        rivals = sum(sums[end] - sums[start] for start, end in query.rivals) / sum(end - start for start, end in query.rivals)
        both[place] = target[place] + rivals
    return target, both, np.array([found.queries[m].story for m in own], np.int64)
