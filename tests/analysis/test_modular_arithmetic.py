"""Planted characters and planted codes are found in their own group, noise is not; fitted and judged cells are others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._ridge import Ridge
from picollm.analysis.modular_arithmetic import (
    ADDITIVE,
    FEWEST,
    MULTIPLICATIVE,
    SHORTEST,
    Group,
    Prefixes,
    Probe,
    analyse,
    prefixes,
    residuals,
    spectra,
)
from picollm.core.files import read_json, write_json
from picollm.tasks.numeric.spec import FAMILIES, specification

SPEC = specification("modular")
FAMILY = pytest.mark.parametrize("family", ["arithmetic", "geometric"])


def analysed(subject: Subject) -> Result:
    result = analyse(subject)
    assert isinstance(result, Result)
    return result


def plant(weight: torch.Tensor, group: Group, frequency: int, noise: float = 0.1) -> None:
    """Two columns of a table (128, D) turn with a character of the group, all others are noise."""
    rows = np.random.default_rng(0).normal(size=(127, weight.shape[1])) * noise
    wave = group.characters[:, frequency - 1]
    rows[group.elements, 3] += wave.real
    rows[group.elements, 7] += wave.imag
    with torch.no_grad():
        weight[:127] = torch.from_numpy(rows)


def cells(family: str, n: int) -> Prefixes:
    """n sequences of different cells, half of them to fit on."""
    members = np.random.default_rng(1).permutation(np.flatnonzero(SPEC.family == FAMILIES.index(family)))[:n]
    return Prefixes(family, SPEC.table[members, :12].astype(np.int64), n // 2)


def test_three_is_a_primitive_root() -> None:
    assert sorted(MULTIPLICATIVE.elements.tolist()) == list(range(1, 127))
    assert MULTIPLICATIVE.place[0] == -1


def test_characters_turn_the_groups_operation_into_a_product() -> None:
    a, b = np.random.default_rng(0).integers(1, 127, (2, 500))
    for group, both in ((ADDITIVE, (a + b) % 127), (MULTIPLICATIVE, a * b % 127)):
        chi = group.characters[group.place]
        assert np.allclose(chi[a] * chi[b], chi[both])
        assert np.allclose(np.abs(group.characters), 1)
        assert group.characters.shape == (len(group.elements), 63)


def test_orders() -> None:
    squares = {x * x % 127 for x in range(1, 127)}
    legendre = MULTIPLICATIVE.characters[MULTIPLICATIVE.place][1:, 62]
    assert np.allclose(legendre, [1 if x in squares else -1 for x in range(1, 127)])
    assert [MULTIPLICATIVE.order(k) for k in (63, 42, 18, 21, 1)] == [2, 3, 7, 6, 126]
    assert ADDITIVE.order(63) == 127


@pytest.mark.parametrize(("group", "frequency"), [(ADDITIVE, 9), (MULTIPLICATIVE, 42), (MULTIPLICATIVE, 63), (MULTIPLICATIVE, 5)])
def test_a_planted_character_is_found_in_its_own_group(make: Callable[..., Subject], group: Group, frequency: int) -> None:
    subject = make("modular", n_layer=1)
    plant(subject.model.embed.weight, group, frequency)
    metrics = analysed(subject).metrics
    own = metrics[f"embed.{group.name}.top5"]
    (other,) = (metrics[f"embed.{other.name}.top5"] for other in (ADDITIVE, MULTIPLICATIVE) if other is not group)
    assert own["frequency"] == frequency
    assert own["order"] == group.order(frequency)
    assert own["n"] == len(group.elements)
    assert own["value"] > 0.7 > 2 * own["shuffled_high"]
    assert own["value"] > own["untrained_high"]
    assert own["shuffled_p"] == round(1 / 201, 8)
    assert other["value"] < 0.15  # Gauss sums are all of one size: a character of one group is flat in the other


def test_noise_has_no_character(make: Callable[..., Subject]) -> None:
    metrics = analysed(make("modular", n_layer=1)).metrics
    for name in ("additive", "multiplicative"):
        assert metrics[f"embed.{name}.top5"]["shuffled_p"] > 0.05
        assert metrics[f"embed.{name}.top5"]["value"] < 0.3


def test_a_head_of_its_own_is_looked_at_too(make: Callable[..., Subject]) -> None:
    subject = make("modular", n_layer=1, tie_embeddings=False)
    plant(subject.model.head.weight, MULTIPLICATIVE, 42)
    result = analysed(subject)
    assert result.metrics["head.multiplicative.top5"]["frequency"] == 42
    assert result.metrics["head.multiplicative.top5"]["shuffled_p"] < 0.01
    assert result.metrics["embed.multiplicative.top5"]["shuffled_p"] > 0.05
    assert [row["weights"] for row in result.tables["spectrum"]] == ["embed"] * 126 + ["head"] * 126
    assert {weights for weights, _ in spectra(make("modular").model)} == {"embed"}


@FAMILY
def test_labels(family: str) -> None:
    found = cells(family, 300)
    labels = {target: found.group.elements[places] for target, places in found.labels().items()}
    members = np.array([SPEC.index[FAMILIES.index(family), row[0], row[1]] for row in found.ids])
    assert np.array_equal(labels["next"], SPEC.table[members, found.last + 1])
    assert np.array_equal(labels["start"], found.ids[:, 0])
    x, y = found.ids[:, 0], found.ids[:, 1]
    assert np.array_equal(y, (x + labels["step"]) % 127 if family == "arithmetic" else x * labels["ratio"] % 127)
    assert set(found.last) == set(range(SHORTEST - 1, 12))


@FAMILY
def test_fitted_and_judged_cells_are_those_that_training_saw_and_did_not_see(make: Callable[..., Subject], family: str) -> None:
    found = prefixes(make("modular"), family)
    numbers = SPEC.index[FAMILIES.index(family), found.ids[:, 0], found.ids[:, 1]]
    assert len(set(numbers)) == len(numbers)
    assert np.array_equal(SPEC.held[numbers], np.arange(len(numbers)) >= found.fitted)
    assert 0 < found.fitted < len(numbers)


@FAMILY
def test_without_heldout_cells_one_half_is_judged(make: Callable[..., Subject], family: str) -> None:
    found = prefixes(make("modular", {"length": 40}), family)  # longer than the rows of the held-out split
    assert found.ids.shape[1] == 40
    assert found.fitted == len(found.ids) // 2
    assert len(np.unique(found.ids[:, :2], axis=0)) == len(found.ids)


@FAMILY
def test_a_planted_linear_code_is_found_and_noise_is_not(family: str) -> None:
    found, rng = cells(family, 1200), np.random.default_rng(2)
    target = "step" if family == "arithmetic" else "ratio"
    labels = found.labels()[target]
    waves = found.group.characters[labels][:, [1, 4, 17, 40, 61]]
    x = np.concatenate([waves.real, waves.imag], 1) @ rng.normal(size=(10, 32)) + 0.3 * rng.normal(size=(1200, 32))

    probe = Probe((family, target, "planted"), Ridge(x, found.fitted), found, labels)
    value, top = probe.r_squared()
    nulls = probe.nulls()
    assert value > 0.9
    assert sorted(top) == [2, 5, 18, 41, 62]
    assert probe.accuracy() > 0.9
    assert nulls["shuffled"].max() < 0.05
    assert nulls["renamed"].max() < 0.4

    noise = Probe((family, target, "noise"), Ridge(rng.normal(size=x.shape), found.fitted), found, labels)
    assert abs(noise.r_squared()[0]) < 0.05
    assert noise.accuracy() < 0.05


def test_a_code_of_every_value_is_no_code_of_the_group() -> None:
    """One direction a value: all is there to be read, but no wave better than one over the values in any other order."""
    found = cells("arithmetic", 2400)
    labels = found.labels()["step"]
    probe = Probe(("arithmetic", "step", "table"), Ridge(np.eye(127)[labels], found.fitted), found, labels)
    assert probe.accuracy() == 1
    assert probe.r_squared()[0] == pytest.approx(probe.nulls()["renamed"].mean(), abs=0.02)
    assert probe.r_squared()[0] > 0.9


def test_the_residual_stream_is_read_at_the_last_term_of_the_prefix(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picollm.analysis._states.BATCH", 7)
    model, found = make("modular").model, cells("geometric", 20)
    read = residuals(model, found)
    assert list(read) == ["embed", "0.resid_mid", "0.resid_post", "1.resid_mid", "1.resid_post"]
    for row in (0, 9, 19):
        kept: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            model(torch.from_numpy(found.ids[row : row + 1, : found.last[row] + 1]), tap=lambda site, value, kept=kept: kept.setdefault(site, value))
        for site, values in read.items():
            assert np.allclose(values[row], kept[site][0, -1].numpy(), atol=1e-6)


def test_every_target_and_site_is_named_alike_in_metrics_and_table(make: Callable[..., Subject]) -> None:
    result = analysed(make("modular", n_layer=1))
    targets = {"arithmetic": ("step", "next", "start"), "geometric": ("ratio", "next", "start")}
    sites = ("embed", "0.resid_mid", "0.resid_post")
    names = [f"{family}.{target}.R2.{site}" for family in targets for target in targets[family] for site in sites]
    assert list(result.metrics) == ["embed.additive.top5", "embed.multiplicative.top5", *names]
    assert [f"{row['sequences']}.{row['target']}.R2.{row['site']}" for row in result.tables[""]] == names
    for row, name in zip(result.tables[""], names, strict=True):
        assert row["R2"] == pytest.approx(result.metrics[name]["value"], abs=1e-6)
        assert {"shuffled_p", "renamed_p", "untrained_low", "untrained_high"} <= set(result.metrics[name])
    for target in ("step", "next"):  # an embedding knows one term: neither the step nor what follows
        assert abs(result.metrics[f"arithmetic.{target}.R2.embed"]["value"]) < 0.1
    for group in ("additive", "multiplicative"):
        assert sum(row["share"] for row in result.tables["spectrum"] if row["group"] == group) == pytest.approx(1)


def test_linear_attention_and_convolution_have_a_residual_stream_too(make: Callable[..., Subject]) -> None:
    for block in ({"attention": "linear"}, {"attention": "convolution", "short_conv": 4}):
        assert analysed(make("modular", n_layer=1, **block)).metrics


@pytest.mark.parametrize(
    ("data", "options", "block", "reason"),
    [
        ("modular", {}, {"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
        ("text", {}, {}, "the task does not calculate modulo 127"),
        ("numeric", {}, {}, "the task does not calculate modulo 127"),
        ("urn", {}, {}, "the task does not calculate modulo 127"),
        ("modular", {"length": 3}, {}, "reads prefixes of 4 terms and more, interpret.length is 3"),
    ],
)
def test_skips(make: Callable[..., Subject], data: str, options: dict[str, object], block: dict[str, str], reason: str) -> None:
    assert analyse(make(data, options, **block)) == Skip(reason)


def test_too_few_sequences_are_a_skip(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picollm.analysis.modular_arithmetic.MOST", FEWEST - 1)
    assert analyse(make("modular")) == Skip("needs 8 different arithmetic sequences of 12 terms to fit probes on, and as many to judge them by")


def test_a_task_without_a_heldout_split(make: Callable[..., Subject], tmp_path: Path) -> None:
    subject = make("modular")
    facts = read_json(subject.raw / "facts.json")
    for path in subject.raw.glob("test.*.npy"):
        (tmp_path / path.name).symlink_to(path)
    write_json(tmp_path / "facts.json", {**facts, "splits": {"test": facts["splits"]["test"]}})
    found = prefixes(replace(subject, raw=tmp_path), "arithmetic")
    assert found.fitted == len(found.ids) // 2
