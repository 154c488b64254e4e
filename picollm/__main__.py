"""`python -m picollm`: the allocator settings first, then the command line."""

from picollm.core import allocator
from picollm.core.errors import exit_on_user_error


def main() -> None:
    allocator.apply()
    from picollm import cli

    exit_on_user_error(cli.main)


if __name__ == "__main__":
    main()
