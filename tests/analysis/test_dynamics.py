"""A number that leaves the range of untrained models does so where it was planted; one that only visits outside has not emerged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm.analysis._course import Course
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._watch import REPEATED, Watch
from picollm.analysis.dynamics import NAMES, analyse

STEPS = np.array([0, 10, 20, 30, 40, 50])
NULL = np.linspace(0, 1, 19)


def course(values: list[float], half_width: float = 0.0) -> Course:
    value = np.array(values)
    return Course(STEPS, value, value - half_width, value + half_width, NULL)


def test_a_number_leaves_for_good_at_its_first_step_outside_that_none_inside_follows() -> None:
    found = course([0.5, 3, 0.5, 3, 3, 3]).leaves()
    assert found is not None
    assert (found.step, found.earliest, found.latest, found.half) == (30, 20, 30, 30)
    below = course([0.5, 0.5, 0.5, -3, -4, -5]).leaves()
    assert below is not None
    assert (below.step, below.half) == (30, 30)


def test_an_uncertain_number_leaves_earlier_at_best_and_later_at_worst() -> None:
    found = course([0.5, 0.5, 1.5, 2.0, 4.0, 9.0], half_width=1.2).leaves()
    assert found is not None
    assert (found.step, found.earliest, found.latest, found.half) == (20, 0, 40, 50)
    never_sure = course([0.5, 0.5, 0.5, 0.5, 0.5, 1.1], half_width=1).leaves()
    assert never_sure is not None
    assert never_sure.latest == 50


def test_a_visit_is_no_emergence() -> None:
    assert course([0.5, 3, 3, 3, 3, 0.9]).leaves() is None
    assert course([0.5, 3, 3, 3, 3, 0.9]).lasting() is None


def test_what_comes_in_order_lasts_longer_than_in_a_shuffled_one() -> None:
    lasting = course([0.5, 2, 2, 2, 2, 3]).lasting()
    assert lasting is not None
    assert lasting["value"] == 0.8
    assert lasting["step"] == 10
    assert lasting["low"] <= lasting["value"] <= lasting["high"]
    late = course([0.5, 0.5, 0.5, 2, 2, 3]).lasting()
    assert late is not None
    assert late["shuffled"] < late["value"]
    assert late["n"] == 6


def keep(make: Callable[..., Subject], saved: Callable[..., Path], data: str, steps: int, **block: object) -> Subject:
    """A subject whose checkpoints move its embeddings further and further onto a line."""
    subject = make(data, {"untrained": 3}, n_layer=1, **block)
    line = torch.linspace(-1, 1, subject.model.vocab_size)
    for step in range(steps):
        with torch.no_grad():
            if step > 2:
                subject.model.embed.weight[:, 0] = step * line
        saved(f"run/step{step:06d}", subject.model, step=step)
    return replace(subject, checkpoint=saved("run", subject.model, step=steps - 1))


def test_a_line_that_is_planted_at_the_third_step(make: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    result = analyse(keep(make, saved, "numeric", 6))
    assert isinstance(result, Result)
    assert result.metrics["line.lasts"]["step"] == 3
    assert result.metrics["line.final"]["value"] > 0.9
    assert result.metrics["period.final"]["value"] > result.metrics["period.final"]["untrained_high"]
    assert result.metrics["cka.final"]["value"] == pytest.approx(1)
    assert {name.partition(".")[0] for name in result.metrics} == set(NAMES)
    assert len(result.tables[""]) == 6 * len(NAMES)
    assert len(result.claims) == len(NAMES)
    for found in result.metrics.values():
        assert found["low"] <= found["value"] <= found["high"]


def test_induction_is_the_weight_on_what_followed_last_time(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(make())
    T = 2 * REPEATED
    planted = np.zeros((1, 3, 1, T, T))
    for query in range(REPEATED, T):
        assert np.array_equal(watch.twice[:, query], watch.twice[:, query - REPEATED])
        planted[..., query, query - REPEATED + 1] = 1
    monkeypatch.setattr("picollm.analysis._watch.shares", lambda _, ids: planted if ids.shape[1] == T else np.full((1, 3, 1, 12, 12), 1 / 12))
    assert dict(watch.numbers(make().model))["induction"].value == 1


def test_loss_is_of_what_the_task_asks_for(make: Callable[..., Subject]) -> None:
    subject = make("addition", n_layer=1)
    watch = Watch(subject)
    assert set(np.unique((watch.asked >= 0).sum(1))) == {6}  # five digits and the end
    with torch.no_grad():
        logits = subject.model(torch.from_numpy(watch.ids)).log_softmax(-1).numpy()
    rows, places = np.nonzero(watch.asked >= 0)
    expected = -logits[rows, places, watch.asked[rows, places]].mean()
    found = dict(watch.numbers(subject.model))
    assert found["loss"].value == pytest.approx(expected, rel=1e-5)
    assert "line" not in found
    columns = {"positions": "learned", "position_ids": "block", "block_size": 8}
    assert "induction" not in dict(Watch(make("addition", n_layer=1, **columns)).numbers(make("addition", n_layer=1, **columns).model))


def test_text_and_a_model_without_heads(make: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    assert set(dict(Watch(make("text")).numbers(make("text").model))) == set(NAMES) - {"period"}
    recurrent = make("text", {"untrained": 2}, kind="lstm")
    for step in range(3):
        saved(f"run/epoch{step:02d}", recurrent.model, step=step)
    result = analyse(replace(recurrent, checkpoint=saved("run", recurrent.model)))
    assert isinstance(result, Result)
    assert {name for name in result.metrics if name.endswith(".final")} == {"loss.final", "line.final"}


def test_a_run_without_checkpoints_is_skipped(make: Callable[..., Subject], saved: Callable[..., Path]) -> None:
    reason = "{} checkpoints kept on the way, 3 are needed: set training.snapshots, or train in more epochs"
    assert analyse(make()) == Skip(reason.format(0))
    assert analyse(keep(make, saved, "numeric", 2)) == Skip(reason.format(2))
