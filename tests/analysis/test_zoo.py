"""Known answers: in models whose every head was set by hand, exactly the planted roles are found, exactly where they have an effect."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from picollm.analysis import embedding_pca, neuron_selectivity
from picollm.analysis._losses import examples
from picollm.analysis._result import Result, Subject
from picollm.analysis._role_heads import LEAST, Heads, measure, together
from picollm.analysis.head_roles import SEVERAL
from picollm.training.batches import Batch
from tests.analysis import zoo


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Subject, Batch, Heads]]:
    """measured(circuit, kind of attention), once each."""
    known: dict[tuple[str, str], tuple[Subject, Batch, Heads]] = {}

    def get(name: str, kind: str) -> tuple[Subject, Batch, Heads]:
        if (name, kind) not in known:
            subject = zoo.subject(zoo.CIRCUITS[name], kind, tmp_path_factory.mktemp("zoo"))
            batch = examples(subject)
            assert isinstance(batch, Batch)
            known[name, kind] = subject, batch, measure(subject, batch)
        return known[name, kind]

    return get


Measured = Callable[[str, str], tuple[Subject, Batch, Heads]]


@pytest.mark.parametrize("kind", zoo.KINDS)
@pytest.mark.parametrize("name", zoo.CIRCUITS)
def test_every_head_has_the_role_that_was_planted_and_no_other(measured: Measured, name: str, kind: str) -> None:
    circuit, (_, _, heads) = zoo.CIRCUITS[name], measured(name, kind)
    labels = heads.names()
    assert {place: str(labels[place]) for place in np.ndindex(labels.shape) if labels[place] != "unlabelled"} == circuit.roles
    assert {place for place in np.ndindex(labels.shape) if heads.causal[place]} == circuit.causal
    assert {place: int(heads.scores[circuit.roles[place]].choice[place]) for place in circuit.choices} == circuit.choices


@pytest.mark.parametrize("kind", zoo.KINDS)
@pytest.mark.parametrize("name", zoo.CIRCUITS)
def test_circuits_do_what_they_were_built_for(name: str, kind: str, tmp_path: Path) -> None:
    """Else an effect would say nothing."""
    subject = zoo.subject(zoo.CIRCUITS[name], kind, tmp_path)
    batch = examples(subject)
    assert isinstance(batch, Batch)
    with torch.no_grad():
        assert subject.model.loss(batch.inputs, batch.targets).item() < zoo.CIRCUITS[name].loss


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_twins_are_found_together(measured: Measured, kind: str) -> None:
    subject, batch, heads = measured("twins", kind)
    assert heads.effects.mean(-1).max() < LEAST
    found = together(subject, heads, batch)["together"]
    assert found["value"] > 2
    assert found["factor"] > SEVERAL
    assert found["sets"] == 27  # all other pairs of eight heads
    assert found["other_sets_p"] == pytest.approx(1 / 28, rel=1e-4)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_decoy_has_the_pattern_and_no_effect(measured: Measured, kind: str) -> None:
    for name, decoys in (("decoys", [(0, 0), (0, 1), (0, 2)]), ("inductive decoy", [(1, 0)])):
        _, _, heads = measured(name, kind)
        for layer, head in decoys:
            assert heads.found[heads.label[layer, head], layer, head] > 0.9
            assert np.all(heads.effects[layer, head] == 0)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_covert_head_has_an_effect_and_no_pattern(measured: Measured, kind: str) -> None:
    _, _, heads = measured("covert", kind)
    effects = heads.effects.mean(-1)
    assert np.unravel_index(effects.argmax(), effects.shape) == (0, 1)
    assert effects.max() == pytest.approx(np.log(2), abs=0.01)  # which half of the vocabulary it is, and nothing else
    assert effects.max() > 10 * heads.null_effects.max()
    assert np.abs(heads.found[:, 0, 1]).max() < 1e-5


def test_labels_need_models_to_be_held_against(tmp_path: Path) -> None:
    subject = zoo.subject(zoo.CIRCUITS["previous"], "softmax", tmp_path, untrained=18)
    batch = examples(subject)
    assert isinstance(batch, Batch)
    assert np.all(measure(subject, batch).label == -1)


def planted(subject: Subject, signal: np.ndarray, noise: float = 0.3) -> dict[str, dict[str, float]]:
    """The metrics of embeddings with a signal (127,) in one direction."""
    rows = zoo.rng(20).normal(size=(127, subject.model.config.d_model)) * noise
    rows[:, 7] += signal
    with torch.no_grad():
        subject.model.embed.weight[:127] = torch.from_numpy(rows).float()
    result = embedding_pca.analyse(subject)
    assert isinstance(result, Result)
    return result.metrics


def test_a_number_line_and_a_period_of_ten_are_found_only_in_their_order(make: Callable[..., Subject]) -> None:
    values = np.arange(127)
    line, ten = np.linspace(-2, 2, 127), 1.5 * np.sin(2 * np.pi * values / 10)
    both = planted(make(), line + ten)
    assert both["number_line"]["value"] > 0.7
    assert both["number_line"]["shuffled_p"] < 0.01
    period = planted(make(), ten)["period"]
    assert period["period"] == pytest.approx(10, abs=0.3)  # 127 values hold 12.7 of them
    assert period["shuffled_p"] < 0.01
    order = zoo.rng(21).permutation(127)
    shuffled = planted(make(), (line + ten)[order])
    assert shuffled["number_line"]["shuffled_p"] > 0.05
    assert shuffled["period"]["shuffled_p"] > 0.05


def selective(subject: Subject, values: np.ndarray) -> dict[str, float]:
    """The best neuron of a layer in which neuron 5 alone does anything: it answers to some values."""
    block = subject.model.blocks[0]
    with torch.no_grad():
        for parameter in (block.mlp.up.weight, block.mlp.up.bias, block.attention.out.weight):
            parameter.zero_()
        block.mlp.up.weight[5, 3] = 4
        subject.model.embed.weight[:, 3] = 0
        subject.model.embed.weight[torch.from_numpy(values), 3] = 1
    result = neuron_selectivity.analyse(subject)
    assert isinstance(result, Result)
    return result.metrics["0.best"]


def test_a_neuron_that_tells_types_apart_is_found_and_one_of_random_values_is_not(make: Callable[..., Subject]) -> None:
    found = selective(make(n_layer=1), np.array([126]))  # where classic's geometric sequences end up
    assert found["neuron"] == 5
    assert found["value"] > 0.9
    assert found["shuffled_p"] < 0.01
    random = selective(make("modular", n_layer=1), zoo.rng(22).permutation(127)[:63])  # every type of modular comes to all values alike
    assert random["shuffled_p"] > 0.05
