"""Where every head looks: heatmaps, and four numbers a head beside what uniform attention and untrained models give.

The numbers come first because a heatmap convinces nobody: uniform causal attention alone puts a third of its weight on
the first of eight tokens, and an untrained head looks "local" (Jain & Wallace 2019, arXiv 1902.10186).

Shapes: L layers, N sequences, H heads, T tokens; a matrix is (T queries, T keys).
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from picollm.analysis import _intervals, _probes, _verdicts
from picollm.analysis._attention import measures, shares, uniform
from picollm.analysis._drawing import label
from picollm.analysis._head_maps import draw
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate

SEQUENCES = 64  # that the numbers are averaged over
WHAT = {
    "distance": "how many tokens back its weight lies",
    "previous": "its weight on the previous token",
    "first": "its weight on the first token",
    "self": "its weight on the same token",
}


@dataclass(frozen=True, eq=False)
class Probe:
    name: str
    ids: np.ndarray  # (N, T): what the numbers come from
    example: np.ndarray  # (T,): what the picture shows
    labels: list[str]  # of the example's tokens
    title: str


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_weights:
        return Skip(subject.without_weights)
    if not subject.is_text and not _probes.families(subject):
        return Skip(_probes.NO_TYPES)
    probes = _text(subject) if subject.is_text else _families(subject)
    fresh = [[{key: value.mean(1) for key, value in measures(shares(model, probe.ids)).items()} for probe in probes] for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    figures: dict[str, Figure] = {}
    table: list[Row] = []
    arrays: dict[str, np.ndarray] = {}
    claims: list[Claim] = []
    for index, probe in enumerate(probes):
        matrices = shares(subject.model, probe.ids)
        flat = measures(uniform(probe.ids.shape[1]))
        for measure, values in measures(matrices).items():  # (L, N, H)
            null = np.stack([model[index][measure] for model in fresh])  # (models, L, H)
            metrics |= _summarise(f"{probe.name}.{measure}", values, null, float(flat[measure]))
            table += _rows({"sequences": probe.name, "measure": measure}, values, null, float(flat[measure]))
            claims.append(_claim(probe.name, measure, metrics[f"{probe.name}.{measure}.highest"]))
        arrays[probe.name] = matrices.mean(1).astype(np.float32)  # (L, H, T, T)
        example = shares(subject.model, probe.example[None])[:, 0]
        figures[probe.name] = draw(example, probe.labels, f"{_kernel(subject.model.config.attention)}, {probe.title}")
    return Result(metrics, figures, {"": table}, {"": arrays}, claims)


def _kernel(kind: str) -> str:
    return "softmax attention" if kind == "softmax" else f"implicit weights of {kind.replace('_', ' ')} attention"


def _families(subject: Subject) -> list[Probe]:
    probes = []
    for family in subject.options.sequence_types:
        ids = _probes.sequences(subject, family, SEQUENCES)
        probes.append(Probe(family, ids, ids[0], [str(value) for value in ids[0]], f"one {family} sequence"))
    return probes


def _text(subject: Subject) -> list[Probe]:
    prompt = _probes.prompt(subject)
    return [Probe("text", _probes.windows(subject, SEQUENCES), prompt, [label(text) for text in _probes.spellings(subject, prompt)], "the prompt")]


def _summarise(name: str, values: np.ndarray, null: np.ndarray, flat: float) -> dict[str, Estimate]:
    """The mean over all heads, and the highest head: held against the highest head of each untrained model, it was looked for there too."""
    heads = values.mean(1)  # (L, H)
    layer, head = (int(place) for place in np.unravel_index(heads.argmax(), heads.shape))
    n, ends = values.shape[1], _intervals.of_mean(values[layer, :, head])
    return {
        name: estimate(heads.mean(), n, {"untrained": null.mean((1, 2))}, uniform=flat, **_intervals.of_mean(values.mean((0, 2)))),
        f"{name}.highest": estimate(heads.max(), n, {"untrained": null.max((1, 2))}, uniform=flat, **ends, layer=layer, head=head),
    }


def _rows(facts: Row, values: np.ndarray, null: np.ndarray, flat: float) -> list[Row]:
    """Every head, beside all untrained heads of its layer."""
    L, N, H = values.shape
    return [
        {**facts, "layer": layer, "head": head, "value": values[layer, :, head].mean(), "low": None, "high": None, **_intervals.of_mean(values[layer, :, head])}
        | {"n": N, "uniform": flat, "untrained": null[:, layer].mean(), "untrained_low": null[:, layer].min(), "untrained_high": null[:, layer].max()}
        for layer in range(L)
        for head in range(H)
    ]


def _claim(probe: str, measure: str, found: Estimate) -> Claim:
    name = f"{probe}.{measure}.highest"
    sentence = f"On {probe} sequences head {{{name}:head}} of layer {{{name}:layer}} is the highest by {WHAT[measure]}: that"
    return _verdicts.against(sentence, name, found, "untrained", "the highest heads of untrained models")
