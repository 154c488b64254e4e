"""The command: what to compare, in which form, and what makes it fail."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from picollm.comparing import conditions, page, shown
from picollm.comparing.places import Places
from picollm.core.errors import UserError
from picollm.core.files import write_text

FINE, FAILED, BAD = 0, 1, 2


def run(names: Sequence[str], form: str = "text", html: Path | None = None, fail_if: Sequence[str] = ()) -> int:
    """Print the comparison; -> the exit code: 1 where a condition is met, 2 for bad input, which is told in one line."""
    try:
        places = Places()
        met = [conditions.judge(condition, places) for condition in map(conditions.parse, fail_if)]
        groups: list[shown.Group] = [*places.groups(names)] if names or not met else [[one.right, one.left] for one in met]
        if html:
            write_text(html, page.html(groups, met))
        print(json.dumps(shown.data(groups, met), indent=2, sort_keys=True) if form == "json" else getattr(shown, form)(groups, met))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD
    return FAILED if any(one.met for one in met) else FINE
