"""The one exception meant for the person at the keyboard, and the one place that prints it."""

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """Something a user can mend. The message is one line: the parameter or file, what is wrong, what to do."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`(did you mean 'linear'? known: linear, softmax)`, to be appended to a message about an unknown name."""
    options = sorted(known)
    near = difflib.get_close_matches(str(name), options, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"({guess}known: {', '.join(options) or 'none'})"


def exit_on_user_error(main: Callable[[], None]) -> None:
    """Run `main`; a UserError becomes one line on stderr and exit code 1, anything else keeps its traceback."""
    try:
        main()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        sys.exit(130)
