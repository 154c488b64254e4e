"""`python -m picollm`: the settings of a process first, then the command line."""

from picollm.core import startup
from picollm.core.errors import exit_on_user_error


def main() -> None:
    startup.apply()
    from picollm import cli

    exit_on_user_error(cli.main)


if __name__ == "__main__":
    main()
