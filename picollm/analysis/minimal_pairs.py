"""Does the model prefer what the grammar allows? A hundred minimal pairs of every category of sentences, not one sentence of each.

The beginning of a fable, and the same with one small thing wrong, in the sense of Warstadt et al. 2020 (BLiMP, arXiv 1912.00582);
the preferred one has the higher probability from its start on, and a tie is wrong. Intervals are exact (Clopper & Pearson 1934).
What counts is what goes beyond pairs of neighbours: a bigram model, counted in the training tokens, is asked the same, and the two
are compared pair by pair (the exact test of McNemar 1947). Untrained models are asked the shortest pairs of each category.

Shapes: P pairs, V vocabulary.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.special import bdtrc

from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.core import statistics
from picollm.core.files import read_json
from picollm.evaluation.text import _scores  # of spans of a stream, the longest first: what the evaluation of the same pairs uses
from picollm.models import Model
from picollm.report.figures import COLOURS, INK
from picollm.tokenizers._shared import from_json
from picollm.training.checkpoints import read_config

SHORTEST = 10  # pairs of a category that untrained models are asked
CHUNK = 1 << 20  # training tokens that are counted at a time
ALL = "all"
Texts = Sequence[np.ndarray]  # right, wrong, right, wrong, ...: ids without end tokens


def analyse(subject: Subject) -> Result | Skip:
    path = subject.raw / "pairs.json"
    if not subject.is_text or not path.exists():
        return Skip("there are minimal pairs of fables alone")
    pairs, tokenizer = read_json(path), from_json(subject.tokens.header["tokenizer"])
    texts = tokenizer.encode_batch([pair[side] for pair in pairs for side in ("right", "wrong")])
    longest = np.array([len(text) for text in texts]).reshape(-1, 2).max(1)
    limit = _limit(subject) or longest.max()
    fits = np.flatnonzero(longest <= limit)
    if not len(fits):
        return Skip(f"no pair fits into a context of {limit} tokens")
    pairs, texts, longest = [pairs[i] for i in fits], [texts[2 * i + side] for i in fits for side in (0, 1)], longest[fits]
    categories = np.array([pair["category"] for pair in pairs])
    names = list(dict.fromkeys(categories.tolist()))

    preferred = prefers(costs(subject.model, texts, tokenizer.end))
    neighbours = prefers(bigram_costs(subject.tokens.split("train"), texts, tokenizer.end, subject.model.vocab_size))
    few = np.concatenate([own[np.argsort(longest[own], kind="stable")[:SHORTEST]] for own in (np.flatnonzero(categories == name) for name in names)])
    short = [texts[2 * i + side] for i in few for side in (0, 1)]
    fresh = np.array([prefers(costs(model, short, tokenizer.end)) for model in untrained(subject)])  # (models, few)

    everything = np.ones(len(pairs), bool)
    masks = {ALL: everything, **{name: categories == name for name in names}}
    metrics = {name: _estimate(preferred[mask], neighbours[mask], fresh[:, mask[few]].mean(1)) for name, mask in masks.items()}
    changes = np.array([pair["change"] for pair in pairs])
    table: list[Row] = []
    for name in names:
        for change in sorted(set(changes[categories == name].tolist())):
            mask = (categories == name) & (changes == change)
            table.append({"category": name, "change": change, **_exact(preferred[mask]), "bigram": neighbours[mask].mean()})
    left_out = {"left_out": [{"why": f"longer than {limit} tokens", "pairs": count}]} if (count := len(read_json(path)) - len(pairs)) else {}
    return Result(metrics, {"": _draw(metrics)}, {"": table, **left_out}, claims=_claims(metrics))


def _limit(subject: Subject) -> int | None:
    """The tokens that the model was trained on at a time, beyond which the evaluation leaves pairs out too, or those that it can read."""
    trained = read_config(subject.checkpoint).get("context") if subject.checkpoint else None
    return trained or subject.model.max_length


def costs(model: Model, texts: Texts, end: int) -> np.ndarray:
    """Nats of each text after an end token, (2 P,)."""
    lengths = np.array([len(text) for text in texts])
    stream = np.concatenate([[end], *(np.append(text, end) for text in texts)])
    starts = np.concatenate(([0], np.cumsum(lengths + 1)[:-1]))
    nats = np.empty(len(texts))
    nats[np.argsort(-lengths, kind="stable")] = np.concatenate([batch.sum(1) for batch, _ in _scores(model, stream, starts, lengths)])
    return nats


def bigram_costs(train: np.ndarray, texts: Texts, end: int, vocab_size: int) -> np.ndarray:
    """The same by counts of neighbours; every token has followed every other one 1 / V times more than it did, so that nothing is impossible."""
    codes = [np.append(end, text[:-1]).astype(np.int64) * vocab_size + text for text in texts]
    known = np.unique(np.concatenate(codes))
    both, first = np.zeros(len(known)), np.zeros(vocab_size)
    for start in range(0, len(train) - 1, CHUNK):
        part = train[start : start + CHUNK + 1].astype(np.int64)
        pairs = part[:-1] * vocab_size + part[1:]
        place = np.searchsorted(known, pairs).clip(max=len(known) - 1)
        both += np.bincount(place[known[place] == pairs], minlength=len(known))
        first += np.bincount(part[:-1], minlength=vocab_size)
    cost = np.log(first[known // vocab_size] + 1) - np.log(both + 1 / vocab_size)
    return np.array([cost[np.searchsorted(known, code)].sum() for code in codes]).round(9)  # texts of the same pairs of neighbours are a tie


def prefers(nats: np.ndarray) -> np.ndarray:
    """(2 P,) -> (P,) bool: is the right one the likelier?"""
    right, wrong = nats.reshape(-1, 2).T
    return np.asarray(right < wrong)


def _exact(hits: np.ndarray) -> dict[str, float]:
    found = statistics.proportion(int(hits.sum()), len(hits))
    return {"value": float(hits.mean()), "n": len(hits), "low": found["low"], "high": found["high"]}


def _estimate(hits: np.ndarray, neighbours: np.ndarray, null: np.ndarray) -> Estimate:
    """`bigram_p`: how likely as many of the pairs that only one of the two has right are the model's, if each is anybody's."""
    better, worse = int((hits & ~neighbours).sum()), int((neighbours & ~hits).sum())
    p = float(bdtrc(better - 1, better + worse, 0.5)) if better else 1.0
    own = _exact(hits)
    return estimate(own["value"], len(hits), {"untrained": null}, low=own["low"], high=own["high"], bigram=float(neighbours.mean()), bigram_p=p)


def _claims(metrics: dict[str, Estimate]) -> list[Claim]:
    """All together, and each category, of which one in so many would beat bigrams by chance (Bonferroni)."""
    claims = []
    categories = max(1, len(metrics) - (ALL in metrics))
    for name, found in metrics.items():
        what = (
            f"{name}: the right one is preferred in {{{name}:value}} of {{{name}:n}} pairs ({{{name}:low}} to {{{name}:high}}), by bigrams in {{{name}:bigram}}"
        )
        if found["low"] <= 0.5:
            verdict = ": no more than half, tested and not found"
        else:
            verdict = (
                ""
                if found["value"] > found["bigram"] and found["bigram_p"] * (1 if name == ALL else categories) <= 0.05
                else ": more than bigrams know was tested for and not found"
            )
        claims.append(Claim(f"{what}{verdict}."))
    return claims


def _draw(metrics: dict[str, Estimate]) -> Figure:
    names = list(metrics)[::-1]
    place = np.arange(len(names))
    value = np.array([metrics[name]["value"] for name in names])
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(6.4, 0.32 * len(names) + 1.2), layout="constrained")
        axes = figure.subplots()
        low, high = (np.array([metrics[name][f"untrained_{end}"] for name in names]) for end in ("low", "high"))
        axes.barh(place, high - low, 0.6, left=low, color=INK, alpha=0.18, label="untrained models")
        axes.axvline(0.5, color=INK, linewidth=0.8)
        reach = np.array([[metrics[name]["value"] - metrics[name]["low"], metrics[name]["high"] - metrics[name]["value"]] for name in names]).T
        axes.errorbar(value, place, xerr=reach, fmt="o", color=COLOURS[0], markersize=4.5, capsize=2, linewidth=1.2, label="the model, exact 95 %")
        axes.plot([metrics[name]["bigram"] for name in names], place, "D", color=COLOURS[1], markersize=4.5, label="bigrams of the training text")
        axes.set_yticks(place, [f"{name} ({metrics[name]['n']:.0f})" for name in names])
        axes.set(xlim=(0, 1.02), xlabel="share of pairs whose right text is preferred")
        axes.grid(visible=False, axis="y")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
