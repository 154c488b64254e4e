"""Scores of patterns that are known in closed form; p over heads and roles; labels by both tests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picollm import models
from picollm.analysis import _threshold_rule
from picollm.analysis._labels import FLOOR, LEVEL, labels, p_values
from picollm.analysis._losses import examples
from picollm.analysis._nulls import untrained
from picollm.analysis._result import Subject
from picollm.analysis._role_probes import Probes, probes
from picollm.analysis._roles import LOCAL, ROLES, START, Roles, _of_repeats, _of_stored, _score, patterns, uniform
from picollm.training.batches import Batch
from tests.analysis import zoo

T = 12
FLAT = np.tri(T) / np.arange(1, T + 1)[:, None]
IDS = np.stack([np.random.default_rng(row).integers(0, 9, T) for row in range(8)])


def scored(matrix: np.ndarray, ids: np.ndarray = IDS) -> dict[str, float]:
    """Every role of one head that has the same matrix (T, T), or one each (N, T, T), in all sequences."""
    A = np.broadcast_to(matrix, (len(ids), T, T))[None, :, None]
    flat = np.broadcast_to(FLAT, A.shape)
    given = Probes(ids, None, np.array([8]), numeric=True)
    found = {}
    for of in (_of_stored, _of_repeats):
        for (role, its), (_, chance) in zip(of(A, ids, given), of(flat, ids, given), strict=True):
            if (score := _score(its, chance)) is not None:
                found[role] = float(score.mean[0, 0])
    return found


def looking_back(k: int) -> np.ndarray:
    return np.eye(T)[np.maximum(np.arange(T) - k, 0)]


def test_no_preference_scores_nothing() -> None:
    found = scored(FLAT)
    assert set(found) == set(ROLES)
    assert np.abs(list(found.values())).max() < 1e-6


@pytest.mark.parametrize(("role", "k"), [("self", 0), ("previous", 1), ("copy_back", 2), ("copy_back", 5)])
def test_a_fixed_offset_is_one_role_and_no_other(role: str, k: int) -> None:
    found = scored(looking_back(k))
    assert found[role] == pytest.approx(1)
    assert all(found[other] < 0.2 for other in ("self", "previous", "copy_back", "last_difference", "local") if other != role)


def test_two_terms_in_balance_and_a_spread_window() -> None:
    both = scored((looking_back(0) + looking_back(1)) / 2)
    assert max(both, key=lambda role: both[role]) == "last_difference"
    assert both["last_difference"] == pytest.approx(1)
    band = scored(sum(looking_back(k) for k in range(LOCAL + 1)) / (LOCAL + 1))
    assert max(band, key=lambda role: band[role]) == "local"
    assert band["local"] == pytest.approx(1)


def test_the_correction_by_hand() -> None:
    """Half of the weight on the token before, the other half without preference."""
    rows = np.arange(START, T)
    chance = (1 / (rows + 1)).mean()
    assert scored((looking_back(1) + FLAT) / 2)["previous"] == pytest.approx((0.5 + 0.5 * chance - chance) / (1 - chance))


def test_content_is_what_is_looked_for() -> None:
    ids = np.stack([np.resize(np.random.default_rng(row).permutation(8)[:5], T) for row in range(8)])
    equal = (ids[:, :, None] == ids[:, None, :]) & np.tri(T, k=-1, dtype=bool)
    after = np.zeros_like(equal)
    after[..., 1:] = equal[..., :-1]
    for role, mask in (("duplicate", equal), ("induction", after & np.tri(T, dtype=bool))):
        rows = np.where(mask.any(-1, keepdims=True), mask / np.maximum(mask.sum(-1, keepdims=True), 1), FLAT)
        assert scored(rows, ids)[role] == pytest.approx(1)


def test_one_token_and_separators_are_told_apart() -> None:
    ids = IDS.copy()
    ids[:, 3], ids[:, 5] = 7, 8  # 8 is a separator
    for token, role, other in ((7, "token_specific", "separator"), (8, "separator", "token_specific")):
        seen = (ids == token)[:, None, :] & np.tri(T, dtype=bool)
        seen[..., 0] = False
        rows = np.where(seen.any(-1, keepdims=True), seen / np.maximum(seen.sum(-1, keepdims=True), 1), FLAT)
        found = scored(rows, ids)
        assert found[role] == pytest.approx(1)
        assert found[other] < 0.3


def test_a_window_is_its_own_chance(make: Callable[..., Subject]) -> None:
    subject = make(sliding_window=4)
    ids = np.random.default_rng(0).integers(0, 127, (5, 10))
    flat = uniform(subject.model, ids)
    assert np.allclose(flat.sum(-1), 1)
    assert np.allclose(flat[0, 0, 0, 9], [0] * 6 + [0.25] * 4)
    assert np.array_equal(flat[..., 0] > 0, patterns(subject.model, ids)[:, :, :1, :, 0] > 0)


@pytest.mark.parametrize("data", ["numeric", "text"])
def test_random_sequences_repeat_at_periods_of_their_own(make: Callable[..., Subject], data: str) -> None:
    subject = make(data)
    batch = examples(subject)
    assert isinstance(batch, Batch)
    found = probes(subject, batch)
    assert found.repeated is not None
    assert found.repeated.shape == found.stored.shape
    rows = found.repeated[:, 1:] if data == "text" else found.repeated
    periods = {min(k for k in range(1, len(row)) if np.array_equal(row[k:], row[:-k])) for row in rows}
    assert len(periods) > 2
    longest = min(rows.shape[1] // 2, len(np.unique(rows)))
    assert 2 * longest // 3 <= min(periods) <= max(periods) <= longest
    assert bool(len(found.separators)) == (data == "text")


def test_p_counts_the_highest_of_all_heads_and_roles() -> None:
    """Roles of very different spread: neither hides the other, and of models without anything one in twenty has a p of 0.05."""
    rng = np.random.default_rng(1)
    spread = np.array([0.5, 0.05, 1.0])[:, None, None]
    null = spread * rng.normal(size=(99, 3, 2, 4))
    fresh = np.stack([p_values(spread * rng.normal(size=(3, 2, 4)), null) for _ in range(200)])
    assert 0.015 < (fresh.min((1, 2, 3)) <= LEVEL).mean() < 0.09
    found = np.zeros((3, 2, 4))
    found[1, 0, 2] = 0.5  # ten times its spread, and half that of the third role
    p = p_values(found, null)
    assert p[1, 0, 2] == pytest.approx(0.01)
    assert labels(found, p)[0, 2] == 1
    assert (labels(found, p) >= 0).sum() == 1
    found[1, 0, 2] = FLOOR - 0.01  # still far beyond chance, and too little to name
    assert p_values(found, null)[1, 0, 2] == pytest.approx(0.01)
    assert np.all(labels(found, p_values(found, null)) == -1)


def test_thresholds_call_heads_local_that_have_no_preference() -> None:
    kinds = _threshold_rule.kinds(np.stack([FLAT, looking_back(0), looking_back(T)])[None, None])
    assert [_threshold_rule.KINDS[kind] for kind in kinds[0]] == ["local", "diagonal", "token-specific"]
    wide = np.tri(60) / np.arange(1, 61)[:, None]
    assert _threshold_rule.KINDS[int(_threshold_rule.kinds(wide[None, None, None])[0, 0])] == "global"


def false_discoveries(folder: Path, nulls: int, fresh: int, **block: object) -> tuple[int, int, float]:
    """Of `fresh` untrained models held against others: those with any label, those with any p of 0.05; the share of heads not global by thresholds."""
    planted = zoo.subject(zoo.CIRCUITS["previous"], "softmax", folder, untrained=nulls + fresh)
    model = models.build({"kind": "transformer", "n_head": 4, "d_model": 32, "n_layer": 2, **block}, planted.tokens.vocab_size, "model").eval()
    subject = replace(planted, model=model)
    batch = examples(subject)
    assert isinstance(batch, Batch)
    roles = Roles(model, probes(subject, batch))
    scores, rule = [], []
    for one in untrained(subject):
        scores.append(np.stack([score.mean for score in roles.scores(one).values()]))
        rule.append(_threshold_rule.kinds(patterns(one, batch.inputs[:, :12].numpy())))
    p = [p_values(found, np.stack(scores[:nulls])) for found in scores[nulls:]]
    labelled = sum(bool((labels(found, its) >= 0).any()) for found, its in zip(scores[nulls:], p, strict=True))
    return labelled, sum(bool(its.min() <= LEVEL) for its in p), float((np.stack(rule) != _threshold_rule.KINDS.index("global")).mean())


def test_untrained_models_have_no_roles(tmp_path: Path) -> None:
    labelled, significant, by_thresholds = false_discoveries(tmp_path, 39, 20)
    assert labelled <= 2
    assert significant <= 4
    assert by_thresholds == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [{}, {"attention": "linear"}, {"positions": "alibi"}, {"attention": "gated", "positions": "none"}, {"init": "torch_default"}],
    ids=["softmax", "linear", "alibi", "gated", "torch_default"],
)
def test_of_a_hundred_untrained_models_at_most_ten_have_any_role(
    tmp_path: Path, block: dict[str, object], record_property: Callable[[str, object], None]
) -> None:
    labelled, significant, by_thresholds = false_discoveries(tmp_path, 99, 100, **block)
    print(f"{block}: {labelled} labelled, {significant} significant; not global by thresholds: {by_thresholds:.3f} of their heads")
    assert labelled <= 10
    assert significant <= 10
    assert by_thresholds > 0.9
