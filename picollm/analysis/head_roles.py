"""What each attention head does: ten roles, each a score beside its chance, a p beside untrained models, and what the loss says without the head.

A pattern is not a part in the computation: a head may look where a circuit would and put out nothing (Jain & Wallace 2019, arXiv 1902.10186).
So a role is called causal only when the loss on the run's own test data rises without the head, and by more than without any head of
any untrained model. And heads that do the same cover for each other: all that have a role are also ablated together, against
other sets of as many heads. What every score and threshold means stands in docs/interpretation/roles.md.

Shapes: R roles, L layers, H heads, M null models, N sequences.
"""

from collections.abc import Mapping

import numpy as np

from picollm.analysis import _threshold_rule
from picollm.analysis._ablation import interval
from picollm.analysis._labels import FLOOR, LEVEL
from picollm.analysis._losses import examples
from picollm.analysis._ranks import correlation
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._role_figures import draw_roles, draw_shares
from picollm.analysis._role_heads import LEAST, Heads, measure, together
from picollm.core import statistics

RANKED = 4  # heads, without which there is no order
SEVERAL = 3.0  # times the median of other sets: what the heads with a role have to be worth together
SENSITIVE = 0.3  # a rank correlation below which a score says something of the training (Adebayo et al. 2018, arXiv 1810.03292)
CHOICES = {"copy_back": "k", "token_specific": "id"}  # what the best way to fulfil a role is called


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if subject.model.config.attention == "convolution":
        return Skip("a convolution has no heads")
    batch = examples(subject)
    if isinstance(batch, Skip):
        return batch
    heads = measure(subject, batch)
    metrics = _of_roles(heads) | _of_labels(heads) | together(subject, heads, batch)
    return Result(
        metrics,
        {"": draw_roles(heads), "shares": draw_shares(heads)},
        {"": _table(heads), "roles": _of_each_role(heads)},
        {"": {"scores": heads.found.astype(np.float32), "p": heads.p.astype(np.float32)}},
        _claims(heads, metrics),
    )


def _of_roles(heads: Heads) -> dict[str, Estimate]:
    """Of every role the highest of the heads that have it, or of all heads when none has, held against the highest of each untrained model."""
    metrics = {}
    for index, (role, score) in enumerate(heads.scores.items()):
        label = heads.label == index
        own = np.where(label, score.mean, -np.inf) if label.any() else score.mean
        layer, head = (int(place) for place in np.unravel_index(own.argmax(), own.shape))
        facts = {"uniform": score.uniform[layer, head], "layer": layer, "head": head, "choice": int(score.choice[layer, head])}
        counts = {
            "p": heads.p[index, layer, head],
            "heads": int((heads.label == index).sum()),
            "causal_heads": int((heads.causal & (heads.label == index)).sum()),
        }
        values = score.values[:, layer, head]
        metrics[role] = estimate(own.max(), len(values), {"untrained": heads.null[:, index].max((1, 2))}, **interval(values), **facts, **counts)
    return metrics


def _of_labels(heads: Heads) -> dict[str, Estimate]:
    """Shares of heads: with a role, with one that is causal, and of each kind of the threshold rule."""
    above = (heads.null >= FLOOR).any(1)  # (M, L, H): untrained heads that the floor alone would not keep out
    shares = {"labelled": (heads.label >= 0, above), "causal": (heads.causal, above & (heads.null_effects >= LEAST))}
    shares |= {f"rule.{kind}": (heads.rule == number, heads.null_rule == number) for number, kind in enumerate(_threshold_rule.KINDS)}
    n = heads.label.size
    return {name: estimate(own.mean(), n, {"untrained": null.mean((1, 2))}, **_proportion(own), heads=int(own.sum())) for name, (own, null) in shares.items()}


def _proportion(own: np.ndarray) -> dict[str, float]:
    summary = statistics.proportion(int(own.sum()), own.size)
    return {key: summary[key] for key in ("low", "high")}


def _table(heads: Heads) -> list[Row]:
    """Every head: its label, its effect, every role's score and p."""
    rows = []
    for layer, head in np.ndindex(heads.label.shape):
        values = heads.effects[layer, head]
        row: Row = {"layer": layer, "head": head, "label": heads.names()[layer, head], "causal": int(heads.causal[layer, head]), "effect": values.mean()}
        row |= {f"effect_{end}": value for end, value in interval(values).items()} | {"n": len(values)}
        row["threshold_rule"] = _threshold_rule.KINDS[heads.rule[layer, head]]
        for index, (role, score) in enumerate(heads.scores.items()):
            row |= {role: heads.found[index, layer, head], f"{role}_p": heads.p[index, layer, head]}
            row |= {f"{role}_{CHOICES[role]}": int(score.choice[layer, head])} if role in CHOICES else {}
        rows.append(row)
    return rows


def _of_each_role(heads: Heads) -> list[Row]:
    """Every role: what chance gives, what untrained heads reach, and whether their order is already that of the trained heads (arXiv 1810.03292)."""
    rows = []
    for index, (role, score) in enumerate(heads.scores.items()):
        null, label = heads.null[:, index], heads.label == index
        alike = rank_correlation(score.mean, null)
        row = {"role": role, "heads": int(label.sum()), "causal": int((label & heads.causal).sum()), "highest": score.mean.max()}
        row |= {"uniform": score.uniform.mean(), "untrained_highest": null.max((1, 2)).mean(), "untrained_most": null.max()}
        rows.append(row | {"rank_correlation": alike, "sensitive": "" if alike is None else int(alike < SENSITIVE)})
    return rows


def rank_correlation(found: np.ndarray, null: np.ndarray) -> float | None:
    """found (L, H), null (M, L, H) -> the mean over models of the rank correlation over heads; None where there are too few heads to rank."""
    if found.size < RANKED:
        return None
    return float(np.mean([correlation(found.ravel(), other.ravel()) for other in null]))


def _claims(heads: Heads, metrics: Mapping[str, Estimate]) -> list[Claim]:
    claims = ["{labelled:heads} of {labelled:n} heads have a role beyond chance, {causal:heads} of them one that the loss confirms; the others are unlabelled."]
    for role in heads.scores:
        if metrics[role]["heads"]:
            choice = f"; {CHOICES[role]} {{{role}:choice}}" if role in CHOICES else ""
            claims.append(
                f"{role}: {{{role}:heads}} heads, {{{role}:causal_heads}} causal; highest among these: head {{{role}:head}} of layer {{{role}:layer}} "
                f"with {{{role}:value}} ({{{role}:low}} to {{{role}:high}}; family-wise p {{{role}:p}}; untrained {{{role}:untrained}}{choice})."
            )
    missing = [role for role in heads.scores if not metrics[role]["heads"]]
    if missing:
        claims.append(f"Tested, not found: {', '.join(missing)}.")
    if "together" in metrics:
        verdict = "several times" if metrics["together"]["factor"] >= SEVERAL and metrics["together"].get("other_sets_p", 1) <= LEVEL else "not several times"
        claims.append(
            "Without all heads that have a role the loss is {together:value} nats higher, {together:factor} times ({together:factor_low} to "
            f"{{together:factor_high}}) the median of as many other heads: {verdict} as much."
        )
    rule = ", ".join(f"{{rule.{kind}:value}} {kind} (untrained {{rule.{kind}:untrained}})" for kind in _threshold_rule.KINDS)
    claims.append(f"Thresholds alone would call these shares of heads: {rule}.")
    return [Claim(text) for text in claims]
