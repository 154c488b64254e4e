"""All that a page shows of two models, as plain data.

Shapes: T tokens, L layers, H heads, V vocabulary, K tokens listed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from picollm.analysis._result import Estimate, Skip, Subject
from picollm.core.errors import UserError
from picollm.explorer.inside import Inside, look, operator
from picollm.explorer.packing import packed, triangles
from picollm.explorer.probes import Probe, probes
from picollm.explorer.spelling import Spelling
from picollm.report.collect import differences
from picollm.training.batches import IGNORED
from picollm.training.checkpoints import read_config

LIMIT = 4_500_000  # characters of data: with its styles and script the page stays below 5 MB
LISTED = 5  # tokens of a layer's distribution


@dataclass(frozen=True, eq=False)
class Side:
    name: str  # RUN/seed0
    subject: Subject
    roles: Sequence[dict[str, Any]]  # what the heads were found to be, empty where nobody looked


def collect(name: str, sides: Sequence[Side], alike: Mapping[str, Estimate] | Skip) -> dict[str, Any]:
    """The data of the page, `alike` being the likeness of the two. Sequences that would make it too large are left out, and named under "left_out"."""
    facts = [read_config(side.subject.checkpoint, "tokenizer") for side in sides if side.subject.checkpoint]
    spelling = Spelling(facts[0])
    apart = differences([_described(side, fact) for side, fact in zip(sides, facts, strict=True)])
    layers = {"skipped": alike.reason} if isinstance(alike, Skip) else {"layers": alike}
    page: dict[str, Any] = {"name": name, "alike": layers, "sides": [_side(side, fact, apart) for side, fact in zip(sides, facts, strict=True)]}
    shown: list[dict[str, Any]] = []
    left_out: list[str] = []
    used: set[int] = set()
    room = LIMIT
    for probe in probes(sides[0].subject):
        insides = [look(side.subject, probe.ids) for side in sides]
        entry = {
            "name": probe.name,
            "ids": probe.ids.tolist(),
            "asked": [None if token == IGNORED else int(token) for token in probe.asked],
            "sides": [_packed(inside, probe) for inside in insides],
        }
        size = len(json.dumps(entry, separators=(",", ":")))
        if size > room:
            left_out.append(probe.name)
            continue
        room -= size
        shown.append(entry)
        used |= {token for token in [*entry["ids"], *entry["asked"]] if token is not None}
        used |= {token for side in entry["sides"] if side["lens"] for layer in side["lens"]["ids"] for place in layer for token in place}
    if not shown:
        raise UserError(f"pairs.{name}: these models are too large for a page: no sequence fits into {LIMIT:,} characters; name smaller ones")
    return {**page, "vocabulary": {token: spelling.label(token) for token in sorted(used)}, "probes": shown, "left_out": left_out}


def _described(side: Side, facts: dict[str, Any]) -> dict[str, Any]:
    model = {key: value for key, value in facts["model"].items() if key != "kind"}
    return {
        "model": facts["model"]["kind"],
        **model,
        "seed": facts.get("seed"),
        "step": facts.get("step"),
        "parameters": f"{side.subject.model.n_parameters:,}",
    }


def _side(side: Side, facts: dict[str, Any], apart: set[str]) -> dict[str, Any]:
    config, missing = side.subject.model.config, side.subject.without_weights
    described = {key: value for key, value in _described(side, facts).items() if value is not None}
    return {
        "name": side.name,
        "facts": [[key.replace("_", " "), value if isinstance(value, str) else json.dumps(value), key in apart] for key, value in described.items()],
        "without": missing,
        "operator": None if missing else operator(config),
        "layers": 0 if missing else config.depth,
        "heads": 0 if missing else config.n_head,
        "roles": list(side.roles),
    }


def _packed(inside: Inside, probe: Probe) -> dict[str, Any]:
    return {
        "weights": None if inside.weights is None else packed(triangles(inside.weights)),
        "sizes": None if inside.sizes is None else packed(inside.sizes),
        "lens": None if inside.layers is None else _lens(inside.layers, probe.asked),
    }


def _lens(layers: np.ndarray, asked: np.ndarray) -> dict[str, Any]:
    """(L + 1, T, V) probabilities -> the most probable tokens (L + 1, T, K) with theirs, and those of the token asked for (L + 1, T)."""
    ids = np.argsort(-layers, axis=-1, kind="stable")[..., :LISTED]  # of equals the one that stands first in the vocabulary
    wanted = layers[:, np.arange(len(asked)), np.maximum(asked, 0)]
    return {
        "ids": ids.tolist(),
        "p": _rounded(np.take_along_axis(layers, ids, -1)),
        "asked": [[None if token == IGNORED else p for token, p in zip(asked, row, strict=True)] for row in _rounded(wanted)],
    }


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), 4).tolist()  # type: ignore[no-any-return]
