"""Sweeps and groups of model variants in params.yaml: the cells they make, and their mistakes before any work."""

import copy
import json
import sys
from typing import Any

import pytest

from picollm import models, study
from picollm.blocks import Success
from picollm.core.config import read
from picollm.core.errors import UserError
from picollm.study import Study, check_equal, n_parameters

SMALL = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 16}
PARAMS: dict[str, Any] = {
    "budget": "study",
    "tasks": {"numbers": {"kind": "numeric", "spec": "classic", "train": 8, "validation": 8, "test": 8, "long": 4}},
    "runs": {"base": {"task": "numbers", "seeds": 3, "model": SMALL, "training": {"steps": 5, "lr": 0.5}}},
    "variants": {"kinds": {"softmax": {**SMALL, "attention": "softmax"}, "linear": {**SMALL, "attention": "linear"}, "lstm": {"kind": "lstm", "d_model": 16}}},
    "sweeps": {
        "rates": {"base": "runs.base", "task": "numbers", "seeds": 1, "grid": {"training.lr": [0.1, 0.2], "model.d_model": [16, 32]}},
        "kinds": {
            "base": "variants.kinds",
            "task": "numbers",
            "seeds": {"smoke": 0, "study": 2, "full": 2, "paper": 2},
            "only": {"smoke": None, "study": ["linear", "softmax"], "full": ["linear", "softmax"], "paper": ["softmax"]},
            "training": {"steps": 7, "batch_size": 4},
            "success": {"metric": "accuracy_64", "at_least": 0.99},
        },
    },
}


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """PARAMS with the entry at `path` set; taken away when it is ..."""
    params = copy.deepcopy(PARAMS)
    block = params
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    if value is ...:
        del block[path[-1]]
    return params


def test_a_sweep_of_a_run_changes_it_at_every_point() -> None:
    _, cells = Study(PARAMS).sweep("rates")
    assert [cell.label for cell in cells] == ["lr=0.1 d_model=16", "lr=0.1 d_model=32", "lr=0.2 d_model=16", "lr=0.2 d_model=32"]
    last = cells[-1]
    assert (last.variant, last.point) == (None, {"training.lr": 0.2, "model.d_model": 32})
    assert (last.run.seeds, last.run.training.lr, last.run.training.steps, last.run.model) == (1, 0.2, 5, {**SMALL, "d_model": 32})


def test_a_sweep_of_variants_trains_each_as_its_own_block_says_in_the_groups_order() -> None:
    sweep, cells = Study(PARAMS).sweep("kinds")
    assert [(cell.label, cell.variant, cell.point) for cell in cells] == [("softmax", "softmax", {}), ("linear", "linear", {})]
    assert cells[1].run.model == PARAMS["variants"]["kinds"]["linear"]
    assert (cells[1].run.task, cells[1].run.seeds, cells[1].run.training.steps, cells[1].run.training.batch_size) == ("numbers", 2, 7, 4)
    assert sweep.group == "kinds"


def test_what_a_budget_takes_of_a_group_is_its_own() -> None:
    assert [cell.label for cell in Study(PARAMS, "paper").sweep("kinds")[1]] == ["softmax"]
    sweep, cells = Study(PARAMS, "smoke").sweep("kinds")
    assert [cell.label for cell in cells] == ["softmax", "linear", "lstm"]
    assert sweep.seeds == 0, "not part of the budget"


def test_variants_and_grid_make_their_product() -> None:
    params = changed("sweeps", "kinds", "grid", value={"training.lr": [0.1, 0.2]})
    assert [cell.label for cell in Study(params).sweep("kinds")[1]] == ["softmax lr=0.1", "softmax lr=0.2", "linear lr=0.1", "linear lr=0.2"]
    params["sweeps"]["kinds"]["training"] = {"batch_size": 4}
    params["sweeps"]["kinds"]["grid"] = {"training.steps": [3]}
    assert Study(params).sweep("kinds")[1][0].run.training.steps == 3, "the grid may hold what the block lacks"


def test_a_grid_may_change_the_task_which_is_then_the_cells_own() -> None:
    params = changed(
        "sweeps", "rates", value={"base": "runs.base", "task": "numbers", "seeds": 1, "grid": {"task.spec": ["classic", "modular"], "training.lr": [0.1]}}
    )
    _, cells = Study(params).sweep("rates")
    assert [cell.label for cell in cells] == ["spec=classic lr=0.1", "spec=modular lr=0.1"]
    assert [cell.task for cell in cells] == [{**PARAMS["tasks"]["numbers"], "spec": spec} for spec in ("classic", "modular")]
    assert {cell.run.task for cell in cells} == {"numbers"}
    assert all(cell.task is None for cell in Study(PARAMS).sweep("rates")[1])
    Study(params).check()


def test_a_model_must_place_digits_as_its_task_writes_them() -> None:
    task = {"kind": "addition", "train": 5, "validation": 5, "test": 5, "long": 5, "order": "plain"}
    model = {**SMALL, "positions": "learned", "position_ids": "coupled", "digit_order": "plain"}
    for block, change, message in (
        (model, {"order": "reversed"}, "runs.base.model.digit_order: plain, but the task writes reversed digits"),
        (model, {"padding": "none"}, "runs.base.model.position_ids: coupled ids of plain order"),
        (model, {"operands": 3}, "runs.base.model.operands: 2, but the task adds 3"),
        (
            {**model, "block_size": 6, "position_offset": 3},
            {},
            "runs.base.model.block_size: 6 positions do not hold answers of 8 digits, offset included; give at least 9",
        ),
    ):
        params = changed("tasks", "numbers", value={**task, **change})
        params["runs"]["base"]["model"], params["sweeps"] = block, {}
        with pytest.raises(UserError) as caught:
            Study(params).check()
        assert str(caught.value).startswith(message)


def test_a_pair_names_two_checkpoints_of_one_task() -> None:
    params = {**PARAMS, "pairs": {"time": {"left": "base/seed0", "right": "base/seed0/step000000"}}}
    assert Study(params).pair("time").right == "base/seed0/step000000"
    others = {**PARAMS["tasks"], "bits": {"kind": "parity", "train": 8, "validation": 8, "test": 8, "long": 4}}
    runs = {**PARAMS["runs"], "other": {**PARAMS["runs"]["base"], "task": "bits"}}
    for right, message in (
        ("bse/seed0", "right: unknown 'bse' (did you mean 'base'? known: base, other)"),
        ("base", "right: 'base' names no checkpoint; write RUN/seed0, or RUN/seed0/step000000"),
        ("base/seed0", "right: is base/seed0 too; name another checkpoint"),
        ("other/seed0", "right: other is trained on bits, base on numbers; name runs of one task"),
    ):
        with pytest.raises(UserError) as caught:
            Study({**params, "tasks": others, "runs": runs, "pairs": {"time": {"left": "base/seed0", "right": right}}}).check()
        assert str(caught.value) == f"pairs.time.{message}"


def test_labels_differ_where_two_parameters_share_their_last_name() -> None:
    params = changed("sweeps", "rates", "grid", value={"model.dropout": [0.1], "training.dropout": [0.1]})
    with pytest.raises(UserError, match=r"sweeps.rates.grid.training.dropout: unknown parameter"):
        Study(params).sweep("rates")
    params["sweeps"]["rates"]["grid"] = {"model.dropout": [0.1], "training.clip": [0.5]}
    assert Study(params).sweep("rates")[1][0].label == "dropout=0.1 clip=0.5"


def test_all_of_it_is_right() -> None:
    for budget in ("smoke", "study", "full", "paper"):
        Study(PARAMS, budget).check()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["base"], "variants.kins", "sweeps.kinds.base: unknown 'kins' (did you mean 'kinds'? known: kinds)"),
        (["base"], "kinds", "sweeps.kinds.base: 'kinds' is no block to start from; write runs.NAME or variants.GROUP"),
        (["base"], "tasks.numbers", "sweeps.kinds.base: 'tasks.numbers' is no block to start from; "),
        (["base"], "variants.kinds.linear", "sweeps.kinds.base: unknown 'kinds.linear' (known: kinds)"),
        (["base"], "runs.base", "sweeps.kinds.grid: is empty; name a parameter and its values"),
        (["base"], ..., "sweeps.kinds.base: is missing; add it to params.yaml"),
        (["task"], "nmbers", "sweeps.kinds.task: unknown 'nmbers' (did you mean 'numbers'? known: numbers)"),
        (["only"], ["linaer"], "sweeps.kinds.only: unknown variant 'linaer' (did you mean 'linear'? known: linear, lstm, softmax)"),
        (["only"], [], "sweeps.kinds.only: names no variant; leave it out for all of the group, or set seeds to 0"),
        (["seeds"], -1, "sweeps.kinds.seeds: must not be negative, not -1"),
        (["training"], ..., "sweeps.kinds.training: is missing; a sweep of variants has a training block of its own"),
        (["training"], {"steps": 5, "lrr": 1}, "sweeps.kinds.training.lrr: unknown parameter (did you mean 'lr'? "),
        (["training"], {"steps": 5, "lr": 0}, "sweeps.kinds.training.lr: must be above 0, not 0"),
        (["training"], {}, "sweeps.kinds.training.steps: give either steps or epochs, and not both"),
        (["grid"], {"model.n_head": [2, 3]}, "sweeps.kinds.grid.model.n_head: 3 does not divide d_model 16; choose a divisor (variant softmax)"),
        (["grid"], {"training.lr": [0.1, 0.1]}, "sweeps.kinds.grid.training.lr: has a value twice"),
        (
            ["grid"],
            {"tsk.seed": [0]},
            "sweeps.kinds.grid.tsk.seed: a grid changes a run's model, training and task; write model.NAME, training.NAME or task.NAME",
        ),
        (["grid"], {"task.specs": ["modular"]}, "sweeps.kinds.grid.task.specs: unknown parameter (did you mean 'spec'? "),
        (["success"], {"metric": "excess"}, "sweeps.kinds.success.at_least: give either at_least or at_most, and not both"),
        (["success"], {"metric": "excess", "at_most": 1, "at_least": 1}, "sweeps.kinds.success.at_least: give either at_least or at_most, and not both"),
        (["success"], {"metrc": "excess", "at_most": 1}, "sweeps.kinds.success.metrc: unknown parameter (did you mean 'metric'? "),
        (["evaluate"], False, "sweeps.kinds.success.metric: accuracy_64 is measured by evaluation; set evaluate: true, or take one of train_loss, "),
        (["only"], None, "sweeps.kinds.base: variants.kinds.lstm has 4,"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:40],
)
def test_a_mistake_in_a_sweep_is_one_line_before_any_work(path: list[str], value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Study(changed("sweeps", "kinds", *path, value=value)).check()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"linear": {"kind": "transfomer"}}, "variants.kinds.linear.kind: unknown 'transfomer' (did you mean 'transformer'? "),
        ({"linear": {**SMALL, "n_heads": 2}}, "variants.kinds.linear.n_heads: unknown parameter (did you mean 'n_head'? "),
        ({"linear": {**SMALL, "n_head": 3}}, "variants.kinds.linear.n_head: 3 does not divide d_model 16; choose a divisor"),
        ({"linear": 3}, "variants.kinds.linear: must be a block of a model's parameters, not 3"),
        ({"a/b": SMALL}, "variants.kinds.a/b: a name is text of letters, digits, _ and -; choose another"),
        ({}, "variants.kinds: is empty; give it complete model blocks"),
        (None, "variants.kinds: must be a block of parameters, not None"),
    ],
)
def test_a_mistake_in_a_group_is_found_though_no_sweep_takes_it(value: Any, message: str) -> None:
    params = changed("variants", "kinds", value=value)
    del params["sweeps"]["kinds"]
    with pytest.raises(UserError) as caught:
        Study(params).check()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["training", "only"])
def test_a_sweep_of_a_run_has_nothing_that_only_variants_have(name: str) -> None:
    with pytest.raises(UserError, match=rf"^sweeps\.rates\.{name}: belongs to a sweep of variants; runs\.base is a run, which a grid changes"):
        Study(changed("sweeps", "rates", name, value={"steps": 5} if name == "training" else ["a"])).sweep("rates")


def test_variants_of_unequal_size_are_refused_with_both_counts_and_their_distance() -> None:
    params = changed("sweeps", "kinds", "only", value=None)
    sizes = {name: n_parameters(json.dumps(block, sort_keys=True), 128) for name, block in params["variants"]["kinds"].items()}
    assert sizes["softmax"] == sizes["linear"] == models.build(params["variants"]["kinds"]["softmax"], 128, "x").n_parameters
    share = 100 * (sizes["lstm"] / sizes["softmax"] - 1)
    with pytest.raises(UserError) as caught:
        Study(params).check()
    assert str(caught.value) == (
        f"sweeps.kinds.base: variants.kinds.lstm has {sizes['lstm']:,} parameters, {share:+.1f} % against the {sizes['softmax']:,} of softmax; "
        "bring them within 2 %, or set equal_parameters: false"
    )
    params["sweeps"]["kinds"]["equal_parameters"] = False
    Study(params).check()


@pytest.mark.parametrize(("d_ff", "equal"), [(64, True), (65, True), (68, False), (60, False)])
def test_two_percent_is_the_limit_on_both_sides(d_ff: int, equal: bool) -> None:
    params = changed("variants", "kinds", "linear", "d_ff", value=d_ff)
    first, other = (n_parameters(json.dumps(params["variants"]["kinds"][name], sort_keys=True), 2) for name in ("softmax", "linear"))
    assert (abs(other / first - 1) <= study.EQUAL) == equal
    sweep, cells = Study(params).sweep("kinds")
    if equal:
        check_equal("kinds", sweep, cells, 2)
    else:
        with pytest.raises(UserError, match=r"variants\.kinds\.linear has"):
            check_equal("kinds", sweep, cells, 2)


def test_sizes_are_compared_at_the_same_point_of_a_grid() -> None:
    sweep, cells = Study(changed("sweeps", "kinds", "grid", value={"model.d_model": [16, 64]})).sweep("kinds")
    check_equal("kinds", sweep, cells, 128)


def test_a_sweep_that_is_not_part_of_the_budget_is_not_measured() -> None:
    Study(PARAMS, "smoke").check()  # with the LSTM, which is smaller


@pytest.mark.parametrize(("rule", "value", "holds"), [({"at_least": 0.99}, 0.99, True), ({"at_least": 0.99}, 0.98, False), ({"at_most": 0.0}, 0.0, True)])
def test_success_includes_its_limit(rule: dict[str, float], value: float, holds: bool) -> None:
    assert Success("accuracy", **rule).holds(value) is holds


def test_parameters_are_read_without_torch_where_nothing_is_counted() -> None:
    assert "torch" not in vars(study)
    assert sys.modules["picollm.study"] is study


def test_the_projects_own_sweeps_have_cells() -> None:
    params = read()
    for name in params["sweeps"]:
        sweep, cells = Study(params).sweep(name)
        assert len({cell.label for cell in cells}) == len(cells) > 1
        assert sweep.task in params["tasks"]


@pytest.mark.parametrize("budget", ["smoke", "study", "full"])
def test_no_training_of_the_projects_own_is_without_an_end(budget: str) -> None:
    """Hours at most: an epoch too many once made a sweep of one that nobody had run yet last for weeks."""
    own = Study(read(), budget)
    runs = [own.run(name) for name in own.params["runs"]] + [cell.run for name in own.params["sweeps"] for cell in own.sweep(name)[1]]
    for run in runs:
        recipe = run.training
        stored = recipe.examples or own.params["tasks"][run.task].get("train", 100_000)
        steps = recipe.steps or (recipe.epochs or 0) * min(recipe.max_steps_per_epoch or stored, -(-stored // recipe.batch_size))
        assert 0 < steps <= 10_000
