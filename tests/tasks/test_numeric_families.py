"""Which sequences exist: each family's rule, the two specifications, the hold-out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.tasks.numeric import alternating, arithmetic, counting, geometric
from picollm.tasks.numeric.spec import DETERMINISTIC, FAMILIES, HELD_FAMILIES, specification
from picollm.tasks.numeric.values import clamp, wrap
from picollm.tasks.numeric.walk import STEPS, Walk


@pytest.mark.parametrize(
    ("rule", "cell", "fold", "expected"),
    [
        (counting, [124], clamp, [124, 125, 126, 126, 126]),
        (counting, [124], wrap, [124, 125, 126, 0, 1]),
        (arithmetic, [120, 5], clamp, [120, 125, 126, 126, 126]),
        (arithmetic, [120, 5], wrap, [120, 125, 3, 8, 13]),
        (geometric, [3, 3], clamp, [3, 9, 27, 81, 126]),
        (geometric, [3, 3], wrap, [3, 9, 27, 81, 116]),
        (alternating, [7, 2], wrap, [7, 2, 7, 2, 7]),
    ],
)
def test_rules(rule, cell, fold, expected):
    assert rule.terms(np.array([cell]), 5, fold).tolist() == [expected]


def test_geometric_does_not_overflow():
    out = geometric.terms(np.array([[2, 3]]), 600, wrap)[0]
    assert out.tolist() == [2 * pow(3, t, 127) % 127 for t in range(600)]


def test_classic_has_88_cells_of_which_84_differ():
    spec = specification("classic", 0.15, 32)
    assert spec.counts("full").tolist() == [4, 45, 6, 33]
    assert len(np.unique(spec.table, axis=0)) == 84
    assert not spec.held.any()


def test_modular_cells_all_differ():
    spec = specification("modular", 0.15, 8)
    assert spec.counts("full").tolist() == [127, 127 * 124, 126 * 124, 127 * 126]
    assert len(np.unique(spec.table, axis=0)) == len(spec.table)


@pytest.mark.parametrize("name", ["classic", "modular"])
def test_two_terms_identify_a_cell_within_its_family(name):
    spec = specification(name, 0.15, 32)
    assert spec.table.min() >= 0
    assert spec.table.max() <= 126
    for f in range(len(DETERMINISTIC)):
        rows = spec.table[spec.family == f]
        assert len(np.unique(rows[:, :2], axis=0)) == len(rows)
        assert (spec.table[spec.index[f, rows[:, 0], rows[:, 1]]] == rows).all()
    assert (spec.index >= 0).sum() == len(spec.table)


def test_holdout_takes_its_share_of_the_families_that_can_spare_it():
    spec = specification("modular", 0.15, 8)
    shares = spec.counts("heldout") / spec.counts("full")
    for f, name in enumerate(DETERMINISTIC):
        assert shares[f] == pytest.approx(0.15 if name in HELD_FAMILIES else 0, abs=1e-4)
    assert set(spec.members("train")).isdisjoint(spec.members("heldout"))
    assert len(spec.members("train")) + len(spec.members("heldout")) == len(spec.members("full"))
    assert not specification("modular", 0.0, 8).held.any()


def test_holdout_does_not_depend_on_the_length_of_the_table():
    assert (specification("modular", 0.15, 8).held == specification("modular", 0.15, 32).held).all()


@pytest.mark.parametrize("cells", ["train", "full"])
def test_priors_add_up_to_one_in_each_family(cells):
    spec = specification("modular", 0.15, 8)
    assert np.bincount(spec.family, spec.prior(cells)) == pytest.approx(np.ones(4))
    assert (spec.prior("train")[spec.held] == 0).all()
    assert FAMILIES[:4] == DETERMINISTIC


def test_steps_that_meet_at_a_border_add_up():
    kernel = Walk(np.arange(5), clamp).kernel
    assert kernel.sum(1) == pytest.approx(np.ones(127))
    assert kernel[0, :4].tolist() == [0.5, 0.25, 0.25, 0]
    assert kernel[126, 124:].tolist() == [0, 0.25, 0.75]
    entropy = Walk(np.arange(5), clamp).entropy
    assert entropy[50] == pytest.approx(np.log(4))
    assert entropy[0] == pytest.approx(1.5 * np.log(2))


@given(seed=st.integers(0, 2**32), length=st.integers(2, 300), modular=st.booleans(), starts=st.lists(st.integers(0, 126), min_size=1, max_size=4))
def test_walks_stay_inside_and_make_only_allowed_steps(seed, length, modular, starts):
    walk = Walk(np.array(starts), wrap if modular else clamp)
    values = walk.draw(np.random.Generator(np.random.PCG64(seed)), 20, length)
    assert values.shape == (20, length)
    assert ((values >= 0) & (values <= 126)).all()
    assert np.isin(values[:, 0], starts).all()
    assert (walk.kernel[values[:, :-1], values[:, 1:]] > 0).all()


def test_walks_take_each_step_equally_often():
    values = Walk(np.array([60]), wrap).draw(np.random.Generator(np.random.PCG64(0)), 4000, 11)
    steps = (np.diff(values, axis=1) + 1) % 127 - 1
    assert [np.mean(steps == step) for step in STEPS] == pytest.approx([0.25] * 4, abs=0.01)
