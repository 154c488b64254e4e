"""`python -m picollm`: the allocator settings first, then the command line."""

from picollm import allocator
from picollm.errors import exit_on_user_error


def main() -> None:
    allocator.apply()
    from picollm.cli import app

    exit_on_user_error(lambda: app(standalone_mode=True))


if __name__ == "__main__":
    main()
