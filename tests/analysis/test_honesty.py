"""Whatever an analysis says: every number stands beside its interval, how many it comes from, and what chance gives."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picollm.analysis._result import Result, Skip, Subject
from picollm.core import registry

ENDS = re.compile(r"^(\w+)_low$")  # of a null's range; a fact's own ends come with a fact of that name
TASKS = ["numeric", "modular", "text", "fables", "addition", "parity"]


@pytest.fixture(scope="module", params=TASKS)
def found(request: pytest.FixtureRequest, make: Callable[..., Subject], saved_once: Callable[..., Path]) -> dict[str, Result | Skip]:
    """{analysis: what it says} of a model with one block, another seed, and three checkpoints on its way."""
    data = request.param
    subject = make(data, {"untrained": 3, "prompt": "the cat"}, n_layer=1, n_head=4)
    for step in range(3):
        saved_once(f"{data}/seed0/step{step:06d}", subject.model, step=step)
    subject = replace(subject, checkpoint=saved_once(f"{data}/seed0", subject.model, step=2, context=256), others=(saved_once(f"{data}/seed1", subject.model),))
    return {name: registry.load("analysis", name, "interpret.analyses").analyse(subject) for name in registry.names("analysis")}


def numbers(found: dict[str, Result | Skip]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{name}: {key}", value) for name, result in found.items() if isinstance(result, Result) for key, value in result.metrics.items()]


def test_every_number_has_its_interval_its_n_and_a_null_with_its_range(found: dict[str, Result | Skip]) -> None:
    assert numbers(found)
    for name, number in numbers(found):
        assert {"value", "low", "high", "n"} <= set(number), name
        assert number["low"] <= number["value"] <= number["high"], name
        assert isinstance(number["n"], int), name
        assert number["n"] > 1, name
        nulls = [match[1] for key in number if (match := ENDS.match(key)) and f"{match[1]}_high" in number]
        assert nulls, name
        for null in nulls:
            assert null in number, name
            assert number[f"{null}_low"] <= number[null] <= number[f"{null}_high"] or null == "step", name


def test_claims_are_of_numbers_that_stand_there(found: dict[str, Result | Skip]) -> None:
    for name, result in found.items():
        if isinstance(result, Result):
            assert result.claims, name
            for claim in result.claims:
                assert "nan" not in claim.filled(result.metrics)


def test_a_skip_says_why(found: dict[str, Result | Skip]) -> None:
    reasons = {name: result.reason for name, result in found.items() if isinstance(result, Skip)}
    assert all(len(reason.split()) > 3 and "\n" not in reason for reason in reasons.values())
    assert not {"attention_flow", "head_similarity", "agreement", "dynamics"} & set(reasons)
