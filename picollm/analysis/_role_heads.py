"""All that is measured of a model's heads: roles by pattern, what the loss says without each of them, and without all that have a role.

The thresholds of effects stand here, those of patterns in picollm/analysis/_labels.py; all were fixed before any trained model was looked at.

Shapes: R roles, L layers, H heads, M null models, N sequences.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from picollm.analysis import _threshold_rule
from picollm.analysis._ablation import Ablation, How, heads_of, interval
from picollm.analysis._labels import LEVEL, UNLABELLED, labels, p_values
from picollm.analysis._losses import first
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Estimate, Subject, estimate
from picollm.analysis._role_probes import probes
from picollm.analysis._roles import Roles, Score, patterns
from picollm.models import Model
from picollm.training.batches import Batch

FEW = 200  # tokens, for the ablations of untrained models: their effects scatter more, so that a causal head has more to exceed
IN_SETS = 16  # sequences, for the sets of heads
HOW: How = "mean"  # resampling would plant a wrong answer beside a twin's right one, and zeros also take what is the same in all inputs
SETS = 200
DRAWS = 1000  # of the sequences, for the interval of a factor
LEAST = 0.001  # nats: an effect below it is none, and the least that a factor is taken of
SEED = 7


@dataclass(frozen=True, eq=False)
class Heads:
    """All that is known of a model's heads."""

    scores: dict[str, Score]
    null: np.ndarray  # (M, R, L, H)
    p: np.ndarray  # (R, L, H), family-wise
    label: np.ndarray  # (L, H): the number of a role among `scores`, -1 for none
    effects: np.ndarray  # (L, H, N) nats
    null_effects: np.ndarray  # (M, L, H) nats
    rule: np.ndarray  # (L, H), see _threshold_rule
    null_rule: np.ndarray  # (M, L, H)

    @property
    def found(self) -> np.ndarray:
        """(R, L, H)"""
        return np.stack([score.mean for score in self.scores.values()])

    @property
    def causal(self) -> np.ndarray:
        """(L, H) bool: a role, and an effect whose interval, at a level shared among all heads, is above 0, and above every head of every null model."""
        level = 1 - LEVEL / self.label.size
        low = np.apply_along_axis(lambda x: interval(x, level)["low"], -1, self.effects)
        effect = self.effects.mean(-1)
        return np.asarray((self.label >= 0) & (low > 0) & (effect >= LEAST) & (effect > self.null_effects.max()))

    def names(self) -> np.ndarray:
        """(L, H) of str."""
        return np.array([*self.scores, UNLABELLED])[self.label]


def measure(subject: Subject, batch: Batch) -> Heads:
    model, few = subject.model, first(batch, FEW)
    roles, short = Roles(model, probes(subject, batch)), batch.inputs[:, : subject.options.length].numpy()
    null, null_effects, null_rule = [], [], []
    for fresh in untrained(subject):
        null.append(np.stack([score.mean for score in roles.scores(fresh).values()]))
        null_effects.append(effects(fresh, few).mean(-1))
        null_rule.append(_threshold_rule.kinds(patterns(fresh, short)))
    scores = roles.scores(model)
    found = np.stack([score.mean for score in scores.values()])
    p = p_values(found, np.stack(null))
    rule = _threshold_rule.kinds(patterns(model, short))
    return Heads(scores, np.stack(null), p, labels(found, p), effects(model, batch), np.stack(null_effects), rule, np.stack(null_rule))


def effects(model: Model, batch: Batch) -> np.ndarray:
    """(L, H, N) nats that each sequence costs more without each head."""
    heads = heads_of(model)
    return Ablation(model, batch, heads).without([[head] for head in heads], HOW).reshape(model.config.depth, model.config.n_head, -1)


def together(subject: Subject, heads: Heads, batch: Batch) -> dict[str, Estimate]:
    """What all heads with a role are worth together, beside other sets of as many heads. Nothing where no head or every head has a role."""
    every = heads_of(subject.model)
    chosen = frozenset(np.flatnonzero(heads.label.ravel() >= 0).tolist())
    if len(chosen) in (0, len(every)):
        return {}
    ablation = Ablation(subject.model, Batch(batch.inputs[:IN_SETS], batch.targets[:IN_SETS]), every)
    sets = _sets(len(every), chosen)
    values, *others = ablation.without([[every[head] for head in some] for some in (sorted(chosen), *sets)], HOW)
    null = np.array([other.mean() for other in others])
    rng = np.random.Generator(np.random.PCG64([SEED, len(values)]))
    draws = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), DRAWS) / len(values)  # (DRAWS, N): sequences drawn again
    low, high = np.quantile(_factor(draws @ values, draws @ np.array(others).T), [0.025, 0.975])
    factor = float(_factor(values.mean(), null))
    facts = {"factor": factor, "factor_low": min(float(low), factor), "factor_high": max(float(high), factor)}
    return {"together": estimate(values.mean(), len(values), {"other_sets": null}, **interval(values), heads=len(chosen), sets=len(null), **facts)}


def _factor(effect: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(...), (..., S) -> (...): how many times the median of the sets."""
    return effect / np.maximum(np.median(others, -1), LEAST)


def _sets(heads: int, chosen: frozenset[int]) -> list[tuple[int, ...]]:
    """Other sets of as many heads: all, or SETS random ones."""
    size = len(chosen)
    if comb(heads, size) - 1 <= SETS:
        return [some for some in combinations(range(heads), size) if frozenset(some) != chosen]
    rng = np.random.Generator(np.random.PCG64([SEED, heads, size]))
    return [tuple(sorted(rng.choice(heads, size, replace=False).tolist())) for _ in range(SETS)]
