"""The floor of a text at hand: what the exact predictor of its task spends on it, where a task has one.

Number sequences have it term by term, stories of the fables as a whole: their grammar gives a probability to complete stories.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from picollm.core.config import PARAMS, read
from picollm.core.files import read_json
from picollm.loaded.folders import SHIPPED

RAW = Path("data/raw")
KEPT = SHIPPED / "facts"  # of the tasks of models that the repository holds
SHORTEST = 64  # terms that are reckoned with at least: a table for every length would be made anew for every token

Bits = list[float | None]


def predictor(facts: Mapping[str, Any]) -> Callable[[Sequence[int]], Bits]:
    """The exact predictor of the checkpoint's task: ids to bits of each, None where nothing is known, infinite for what the task never has."""
    task = str(facts.get("task"))
    path = next((path for path in (RAW / task / "facts.json", KEPT / f"{task}.json") if path.exists()), None)
    exact = {"numeric": _numeric, "urn": _urn}.get(str(facts.get("kind")))
    if exact is None or path is None:
        return lambda ids: [None] * len(ids)
    return partial(_bits, partial(exact, read_json(path)), facts["tokenizer"]["pad"])


def _bits(nats: Callable[[np.ndarray], np.ndarray], pad: int, ids: Sequence[int]) -> Bits:
    """`nats` gives (1, L) losses of (1, L) terms, L >= 2."""
    terms = list(ids[: ids.index(pad)] if pad in ids else ids)
    if len(terms) < 2:
        return [None] * len(ids)
    losses = (nats(np.array([terms]))[0] / math.log(2)).tolist()
    return [None if math.isnan(loss) else loss for loss in losses] + [None] * (len(ids) - len(terms))


def _numeric(facts: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    from picollm.tasks.numeric.predictor import sequence_losses  # here: scipy and the tables take their time
    from picollm.tasks.numeric.spec import specification

    length = values.shape[1]
    spec = specification(facts["spec"], facts["holdout"], max(SHORTEST, 1 << (length - 1).bit_length()))
    return sequence_losses(spec, values, np.array([length]), facts["splits"]["test"]["prior"])


def _urn(facts: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    from picollm.tasks.urn.config import STEPS
    from picollm.tasks.urn.predictor import sequence_losses

    losses = sequence_losses(facts["alpha"], values, np.array([values.shape[1]]), facts["values"])
    strange = (np.diff(values) - STEPS[0]) % facts["values"] >= len(STEPS)  # a step that no urn holds
    losses[:, 1:][np.logical_or.accumulate(strange, 1)] = np.inf
    return losses


def of_story(facts: Mapping[str, Any], text: str) -> float | None:
    """The bits of a whole story under the grammar that the fables of training are told by; None for other texts and other tasks."""
    if facts.get("kind") != "text" or not PARAMS.exists() or read()["tasks"].get(facts.get("task"), {}).get("source") != "fables":
        return None
    from picollm.tasks.text.fables.grammar import fables  # here, for the grammar takes a while to compile
    from picollm.tasks.text.fables.parse import log2_probability

    found = log2_probability(text, fables(restricted=True))
    return None if found is None else -found
