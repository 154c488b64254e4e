"""Numbers in any base and back, as digits and in writing; what they cost in tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.core.errors import UserError
from picollm.tasks.addition import bases

BASES = st.sampled_from([2, 4, 8, 10, 16, 32, 36, 37, 100])
EXAMPLES = settings(max_examples=100)


@EXAMPLES
@given(value=st.integers(0, 10**40), base=BASES)
def test_there_and_back_is_the_same_number(value, base):
    digits = bases.digits_of(value, base)
    assert all(0 <= digit < base for digit in digits)
    assert digits[-1] or value == 0
    assert bases.value_of(digits, base) == value
    assert bases.read(bases.write(digits, base), base) == digits


@EXAMPLES
@given(value=st.integers(0, 10**30), base=st.sampled_from([2, 8, 10, 16, 32, 36]))
def test_what_is_written_is_what_python_reads(value, base):
    assert int(bases.write(bases.digits_of(value, base), base), base) == value


@EXAMPLES
@given(values=st.lists(st.integers(0, 10**6), min_size=1, max_size=20), base=BASES)
def test_arrays_hold_the_same_digits(values, base):
    width = len(bases.digits_of(max(values), base)) + 1
    for row, value in zip(bases.to_digits(np.array(values), base, width), values, strict=True):
        assert bases.value_of(row.tolist(), base) == value


def test_known_numbers():
    assert bases.write(bases.digits_of(9999, 16), 16) == "270F"
    assert bases.write(bases.digits_of(1342, 100), 100) == "13.42"
    assert bases.read("270f", 16) == [15, 0, 7, 2]


@pytest.mark.parametrize(
    ("text", "base", "message"),
    [
        ("-3", 10, "negative"),
        ("", 10, "empty"),
        ("12a", 10, "'a' is no digit of base 10; use 0 to 9"),
        ("8", 8, "'8' is no digit"),
        ("1.100", 100, "no number of base 100"),
    ],
)
def test_what_is_no_number_of_the_base_is_said(text, base, message):
    with pytest.raises(UserError, match=message):
        bases.read(text, base)


@pytest.mark.parametrize("base", [-2, 0, 1, 101])
def test_what_is_no_base_is_said(base):
    with pytest.raises(ValueError, match=f"base: {base} is none"):
        bases.digits_of(5, base)


@pytest.mark.parametrize(("base", "largest"), [(2, 9), (10, 99), (10, 120), (16, 255), (100, 130)])
def test_tokens_per_problem_are_those_of_all_problems(base, largest):
    def size(value):
        return len(bases.digits_of(value, base))

    counted = [4 + size(a) + size(b) + size(a + b) for a in range(largest + 1) for b in range(largest + 1)]
    assert bases.tokens_per_problem(base, largest) == {"padded": 4 + 2 * size(largest) + size(2 * largest), "mean": pytest.approx(np.mean(counted))}


def test_a_hexadecimal_number_is_not_always_shorter():
    assert len(bases.digits_of(9999, 16)) == len(bases.digits_of(9999, 10)) == 4
