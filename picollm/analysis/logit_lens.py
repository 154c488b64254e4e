"""What every layer already knows: the last norm and the head applied to the residual stream after each block.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; its biases are shown by Belrose et al. 2023 (arXiv 2303.08112).
A tied, untrained model reads back the token that it was given, at any layer: hence the nulls.

Shapes: N sequences, M places where something is predicted, S sites (the embedding, then each block), V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from picollm.analysis import _intervals
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import untrained
from picollm.analysis._predictions import Asked, asked
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.nn.taps import Recorder
from picollm.report.figures import COLOURS, INK

LOGITS = 1 << 22  # that are held at a time
MEASURES = {"accuracy": "accuracy", "saved": "nats below a uniform guess", "kl": "KL of the final prediction from it, nats"}
Lens = dict[str, np.ndarray]  # {measure: (S, N)}, and "settled": (N,)


def lens(model: Any, ask: Asked) -> Lens:
    """Means over each sequence's targets. `accuracy` and `saved` (log V less the loss) are of the targets, `kl` is what is left until the model's own
    prediction, and `settled` the share of the blocks after which the likeliest token no longer changes."""
    parts = [_measured(logits, targets) for logits, targets in _read(model, ask)]
    whole = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    return {name: ask.means(values) for name, values in whole.items()}


@torch.no_grad()
def _read(model: Any, ask: Asked) -> Iterator[tuple[Tensor, Tensor]]:
    """(S + 1, M, V) and (M,): what is read at every site, the last the model's own logits; some sequences at a time."""
    sites = ["embed", *(f"{layer}.resid_post" for layer in range(model.config.depth))]
    step = max(1, LOGITS // (ask.inputs.shape[1] * model.vocab_size))
    for start in range(0, len(ask.inputs), step):
        some = slice(start, start + step)
        recorder = Recorder([*sites, "logits"])
        model(ask.inputs[some].to(model.device), tap=recorder)
        places = ask.places[some].to(model.device)
        if places.any():
            read = [model.head(model.norm(recorder[site][places])) for site in sites]
            yield torch.stack([*read, recorder["logits"][places]]), ask.targets[some].to(model.device)[places]


def _measured(logits: Tensor, targets: Tensor) -> Lens:
    logs = logits.float().log_softmax(-1)  # (S + 1, M, V)
    final, logs = logs[-1], logs[:-1]
    top = logits.argmax(-1)
    same = (top[:-1] == top[-1]).long().flip(0).cumprod(0).sum(0)  # (M,): sites, from the last one back, that agree with the end
    blocks = len(logs) - 1
    loss = -logs.gather(-1, targets.expand(len(logs), -1)[..., None])[..., 0]
    found = {
        "accuracy": (top[:-1] == targets).double(),
        "saved": np.log(logits.shape[-1]) - loss.double(),
        "kl": (final.exp() * (final - logs)).sum(-1).double(),
        "settled": (len(logs) - same).clamp_max(blocks).double() / blocks,
    }
    return {name: value.cpu().numpy() for name, value in found.items()}


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    asks = asked(subject)
    fresh = [[{name: value.mean(-1) for name, value in lens(model, ask).items()} for ask in asks] for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    claims: list[Claim] = []
    curves: dict[str, tuple[Lens, Lens]] = {}
    for index, ask in enumerate(asks):
        found = lens(subject.model, ask)
        null = {name: np.stack([model[index][name] for model in fresh]) for name in found}
        curves[ask.name] = found, null
        metrics[f"{ask.name}.settled"] = _estimate(found["settled"], null["settled"])
        for site in range(len(found["kl"])):
            own = {name: _estimate(found[name][site], null[name][:, site], **({"layer": site - 1} if site else {})) for name in MEASURES}
            metrics |= {f"{ask.name}.{_site(site)}.{name}": value for name, value in own.items()}
            table += [{"sequences": ask.name, "site": _site(site), "measure": name, **_row(value)} for name, value in own.items()]
        claims += _claims(ask.name, len(found["kl"]) - 1)
    return Result(metrics, {"": _draw(curves)}, {"": table}, claims=claims)


def _site(index: int) -> str:
    return str(index - 1) if index else "embed"


def _estimate(values: np.ndarray, null: np.ndarray, **facts: float) -> Estimate:
    return estimate(values.mean(), len(values), {"untrained": null}, **_intervals.of_mean(values), **facts)


def _row(found: Estimate) -> Row:
    return {key: found.get(key) for key in ("value", "low", "high", "n", "untrained", "untrained_low", "untrained_high", "untrained_p")}


def _claims(name: str, blocks: int) -> list[Claim]:
    before, last = f"{name}.{_site(blocks - 1)}.accuracy", f"{name}.{_site(blocks)}.accuracy"
    where = f"after layer {{{before}:layer}}" if blocks > 1 else "in the embedding"
    return [
        Claim(f"{name}: the head reads the right token {where}, before the last block, in {{{before}:value}} of all cases, at the end in {{{last}:value}}."),
        Claim(f"{name}: its likeliest token is settled after {{{name}.settled:value}} of the blocks, in untrained models after {{{name}.settled:untrained}}."),
    ]


def _draw(curves: dict[str, tuple[Lens, Lens]]) -> Figure:
    """A row for each kind of sequence, a column for each measure: the model with its interval, the range of untrained models."""
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(9.6, 2.5 * len(curves) + 0.5), layout="constrained")
        grid = figure.subplots(len(curves), len(MEASURES), squeeze=False)
        for row, (name, (found, null)) in zip(grid, curves.items(), strict=True):
            for axes, (measure, label) in zip(row, MEASURES.items(), strict=True):
                sites = np.arange(len(found[measure]))
                ends = [_intervals.of_mean(values) for values in found[measure]]
                axes.fill_between(sites, null[measure].min(0), null[measure].max(0), color=INK, alpha=0.18, linewidth=0, label="untrained models, all")
                axes.plot(sites, null[measure].mean(0), color=INK, linewidth=1, linestyle=(0, (4, 2)), label="their mean")
                if all(ends):
                    axes.fill_between(sites, [end["low"] for end in ends], [end["high"] for end in ends], color=COLOURS[0], alpha=0.3, linewidth=0)
                axes.plot(sites, found[measure].mean(1), "o-", color=COLOURS[0], markersize=3.5, label="the trained model, 95 % over sequences")
                axes.set_xticks(sites, ["embed", *map(str, sites[:-1])])
                axes.set(title=label, xlabel="read after layer", ylabel=name if measure == "accuracy" else "")
                if measure == "accuracy":
                    axes.set_ylim(-0.03, 1.03)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
