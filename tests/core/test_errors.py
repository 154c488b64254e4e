"""What a user sees of an error: one line, with a guess at what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picollm.core.errors import UserError, did_you_mean, exit_on_user_error


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("linaer", ["softmax", "linear"], "(did you mean 'linear'? known: linear, softmax)"),
        ("zebra", ["softmax", "linear"], "(known: linear, softmax)"),
        ("zebra", [], "(known: none)"),
        (3, ["a"], "(known: a)"),
    ],
)
def test_a_name_is_guessed_when_one_is_near(name, known, text):
    assert did_you_mean(name, known) == text


@given(st.lists(st.text("abc", min_size=1), min_size=1))
def test_a_known_name_is_its_own_best_guess(known):
    assert f"did you mean '{known[0]}'?" in did_you_mean(known[0], known)


def raising(error):
    def main():
        raise error

    return main


def test_a_user_error_is_one_line_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as caught:
        exit_on_user_error(raising(UserError("runs.a: wrong\n  in two\tlines; mend it")))
    assert caught.value.code == 1
    assert capsys.readouterr() == ("", "error: runs.a: wrong in two lines; mend it\n")


def test_an_interrupt_is_one_line_and_exit_code_130(capsys):
    with pytest.raises(SystemExit) as caught:
        exit_on_user_error(raising(KeyboardInterrupt()))
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("error: interrupted; ")


def test_any_other_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_on_user_error(raising(ZeroDivisionError()))


def test_a_program_that_is_right_goes_through(capsys):
    exit_on_user_error(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")
