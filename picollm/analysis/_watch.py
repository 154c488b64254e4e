"""The main numbers of a model, of any checkpoint and of untrained models on the same sequences, each with its interval.

Induction is scored on random tokens told twice (Olsson et al. 2022, arXiv 2209.11895): the weight on the token that followed the
last time.

Shapes: N sequences, L layers, H heads, T tokens.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from picollm.analysis import _bootstrap, _cka, _inputs, _intervals, _spectrum
from picollm.analysis._attention import measures, shares
from picollm.analysis._embeddings import embeddings, on_a_line, ordered, principal_components
from picollm.analysis._result import Subject
from picollm.models import Model

PER_FAMILY = 12  # sequences
REPEATED, COPIES = 12, 24  # random tokens that are told twice, and how often
SEED = 11


class Number(NamedTuple):
    value: float
    low: float
    high: float
    n: int


class Watch:
    def __init__(self, subject: Subject) -> None:
        self.is_text = subject.is_text
        self.ids = _inputs.mixed(subject, PER_FAMILY)
        self.asked = _inputs.asked(subject, self.ids)
        self.order = ordered(subject)
        inside = not subject.without_taps
        self.has_heads = inside and subject.model.config.attention != "convolution"
        self.twice = _told_twice(subject) if self.has_heads else None
        self.last = _cka.grams(subject.model, self.ids)[-1:] if inside and len(self.ids) >= _cka.FEWEST else None

    def numbers(self, model: Model) -> Iterator[tuple[str, Number]]:
        if (self.asked >= 0).any():
            yield "loss", self._loss(model)
        if self.has_heads:
            for name, values in measures(shares(model, self.ids)).items():
                yield name, _highest(values)
        if self.twice is not None:
            second = shares(model, self.twice)[..., REPEATED:, :]  # (L, N, H, REPEATED, T): what the second time looks at
            yield "induction", _highest(np.diagonal(second, 1, -2, -1).mean(-1))
        if self.order is not None:
            ids, order = self.order
            x = embeddings(model, ids)
            _, value, ends = on_a_line(principal_components(x)[0], order)
            yield "line", Number(value, **ends, n=len(ids))
            if not self.is_text:
                _, value, ends = _spectrum.strongest(x)
                yield "period", Number(value, **ends, n=len(ids))
        if self.last is not None:
            yield "cka", self._likeness(model, self.last)

    def _loss(self, model: Model) -> Number:
        """In nats, of the tokens that are asked for."""
        with torch.no_grad():
            logits = model.logits(torch.from_numpy(self.ids).to(model.device)).flatten(0, 1)
            asked = torch.from_numpy(self.asked).to(model.device).flatten()
            losses = nn.functional.cross_entropy(logits, asked, ignore_index=-1, reduction="none").cpu().double().numpy()
        sums, counts = losses.reshape(self.ids.shape).sum(1), (self.asked >= 0).sum(1)
        return Number(float(sums.sum() / counts.sum()), **_bootstrap.ratio(sums, counts), n=len(sums))

    def _likeness(self, model: Model, final: np.ndarray) -> Number:
        """CKA of the last layer with what it became."""
        last, n = _cka.grams(model, self.ids)[-1:], len(self.ids)

        def of(rows: np.ndarray) -> float:
            return float(_cka.alike(last[:, rows[:, None], rows], final[:, rows[:, None], rows])[0, 0])

        return Number(of(np.arange(n)), **_bootstrap.jackknife(of, n), n=n)


def _told_twice(subject: Subject) -> np.ndarray | None:
    """(COPIES, 2 REPEATED) random tokens; None where positions hang on what tokens stand for, or end before."""
    model = subject.model
    if model.config.position_ids != "sequential" or (model.max_length or 2 * REPEATED) < 2 * REPEATED:
        return None
    unused = subject.tokens.header.get("pad", subject.tokens.header.get("end"))
    known = np.array([token for token in range(model.vocab_size) if token != unused])
    once = np.random.Generator(np.random.PCG64(SEED)).choice(known, (COPIES, REPEATED))
    return np.concatenate((once, once), 1)


def _highest(values: np.ndarray) -> Number:
    """(L, N, H) -> of the head that is highest on average."""
    heads = values.mean(1)
    layer, head = np.unravel_index(heads.argmax(), heads.shape)
    own = values[layer, :, head]
    return Number(float(own.mean()), **_intervals.of_mean(own), n=len(own))
