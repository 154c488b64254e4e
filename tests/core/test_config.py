"""params.yaml: read as DVC reads it, resolved for a budget, and its mistakes named by their dotted path."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.config import BUDGETS, STRICT, at_budget, parse, read
from picollm.core.errors import UserError


@dataclass(frozen=True)
class Inner:
    __pydantic_config__ = STRICT

    rate: float = 0.1
    name: Literal["adam", "sgd"] = "adam"

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"rate: must not be negative, not {self.rate}")


@dataclass(frozen=True)
class Outer:
    __pydantic_config__ = STRICT

    count: int
    inner: Inner = field(default_factory=Inner)
    flags: list[bool] = field(default_factory=list)
    limit: int | None = None
    more: dict[str, Inner] = field(default_factory=dict)
    perhaps: Inner | None = None

    def __post_init__(self):
        if self.count == 13:
            raise ValueError("count: 13 is unlucky; take another")


def read_text(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return read(tmp_path / "params.yaml")


def test_values_are_those_of_yaml_1_2(tmp_path):
    params = read_text(tmp_path, "a: 1e-3\nb: no\nc: on\nd: 0o17\ne: 010\nf: 1_000\ng: yes\nh: true\ni: ~\nj: 12:30\nk: [1, 2.0]\n")
    assert params["a"] == 1e-3
    assert isinstance(params["a"], float)
    assert [params[key] for key in "bcg"] == ["no", "on", "yes"]
    assert [params[key] for key in "dehij"] == [15, 10, True, None, "12:30"]
    assert params["k"] == [1, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1\n", "is not YAML"), ("a: 1\na: 2\n", "is not YAML: .*duplicate key"), ("", "holds no parameters"), ("- a\n", "holds no parameters")],
)
def test_a_file_that_is_no_block_of_parameters_is_a_user_error(tmp_path, text, message):
    with pytest.raises(UserError, match=f"params.yaml: (?s:{message})"):
        read_text(tmp_path, text)


def test_bytes_that_are_no_text_are_a_user_error(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(UserError, match=r"params\.yaml: is not YAML"):
        read(tmp_path / "params.yaml")


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml: no such file; run from the folder"):
        read(tmp_path / "params.yaml")


plain = st.recursive(
    st.integers() | st.text() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


@given(plain, st.sampled_from(BUDGETS))
def test_what_names_no_budget_is_left_as_it_is(value, budget):
    assert at_budget(value, budget, "x") == value


@given(st.dictionaries(st.sampled_from(BUDGETS), plain, min_size=1), st.data())
def test_a_budget_takes_its_own_value_at_any_depth(values, data):
    budget = data.draw(st.sampled_from(sorted(values)))
    assert at_budget({"a": [values, {"b": values}]}, budget, "x") == {"a": [values[budget], {"b": values[budget]}]}


def test_budgets_may_stand_inside_budgets():
    assert at_budget({"smoke": {"steps": {"smoke": 1, "full": 2}}, "full": 0}, "smoke", "x") == {"steps": 1}


def test_a_budget_without_a_value_is_a_user_error():
    with pytest.raises(UserError, match=r"^runs\.a\.steps: has no value for budget 'paper'; add one beside smoke, full"):
        at_budget({"a": {"steps": {"smoke": 1, "full": 2}}}, "paper", "runs")


def test_a_block_becomes_its_dataclass():
    assert parse(Outer, {"count": 3, "inner": {"rate": 1}, "flags": [True]}, "x") == Outer(3, Inner(1.0), [True])
    assert parse(Outer, {"count": 3, "limit": None}, "x") == Outer(3)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"count": 1, "cuont": 2}, "runs.a.cuont: unknown parameter (did you mean 'count'? known: count, flags, inner, limit, more, perhaps)"),
        ({"cuont": 2}, "runs.a.cuont: unknown parameter (did you mean 'count'? "),
        ({"count": 1, "more": {"x": {"nmae": 1}}}, "runs.a.more.x.nmae: unknown parameter (did you mean 'name'? known: name, rate)"),
        ({"count": 1, "perhaps": {"nmae": 1}}, "runs.a.perhaps.nmae: unknown parameter (did you mean 'name'? known: name, rate)"),
        ({"count": 1, "inner": {"nmae": 1}}, "runs.a.inner.nmae: unknown parameter (did you mean 'name'? known: name, rate)"),
        ({}, "runs.a.count: is missing; add it to params.yaml"),
        ({"count": "4"}, 'runs.a.count: input should be a valid integer, not "4"'),
        ({"count": 4.5}, "runs.a.count: input should be a valid integer"),
        ({"count": True}, "runs.a.count: input should be a valid integer, not true"),
        ({"count": None}, "runs.a.count: input should be a valid integer, not null"),
        ({"count": 1, "flags": ["yes"]}, 'runs.a.flags.0: input should be a valid boolean, not "yes"'),
        ({"count": 1, "flags": True}, "runs.a.flags: input should be a valid array, not true"),
        ({"count": 1, "inner": {"name": "adma"}}, "runs.a.inner.name: input should be 'adam' or 'sgd', not \"adma\""),
        ({"count": 1, "inner": 3}, "runs.a.inner: input should be an object, not 3"),
        ({"count": 1, "inner": {"rate": -1}}, "runs.a.inner.rate: must not be negative, not -1"),
        ({"count": 13}, "runs.a.count: 13 is unlucky; take another"),
        ({"count": 1, "inner": {"rate": float("nan")}}, "runs.a.inner.rate: input should be a finite number"),
        ({"count": {1, 2}}, "runs.a: Object of type set is not JSON serializable"),
        ([], "runs.a: input should be an object, not []"),
        (None, "runs.a: input should be an object, not null"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_that_starts_with_its_path(block, message):
    with pytest.raises(UserError) as caught:
        parse(Outer, block, "runs.a")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
