"""`study`: DVC rebuilds what has changed; this says what it did, a line a stage, and how it came out."""

import difflib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from picollm import forkserver
from picollm.commands._durations import durations, note
from picollm.commands._graph import stages
from picollm.commands._options import AsJson
from picollm.commands.info import overview
from picollm.commands.status import spoken
from picollm.core.config import BUDGETS, read
from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_json

STAGE = re.compile(r"(?:(?P<runs>Running stage) |Stage )'(?P<name>[^']+)'(?::|(?P<cached> is cached)|(?P<same> didn't change))")
NAMES = 40  # columns for the name of a stage
LOOK = 0.5  # seconds between two looks for an interruption


@dataclass
class Progress:
    """What DVC has said so far."""

    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)  # of what has run to its end
    cached: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    current: str | None = None
    since: float = 0.0

    def hear(self, line: str) -> None:
        match = STAGE.match(line)
        if match is None:
            return
        self.end()
        if match["runs"]:
            self.current, self.since = match["name"], time.monotonic()
            if sys.stdout.isatty() and not self.quiet:
                print(f"{self.current:<{NAMES}} ...", end="", flush=True)
        elif match["cached"]:
            self.cached.append(match["name"])
        elif match["same"]:
            self.unchanged.append(match["name"])

    def end(self, how: str = "") -> None:
        """The stage that runs is over; one that failed has no time to remember."""
        if self.current is None:
            return
        took = time.monotonic() - self.since
        if not how:
            self.seconds[self.current] = took
        if not self.quiet:
            print(f"{chr(13) if sys.stdout.isatty() else ''}{self.current:<{NAMES}} {how}{spoken(took)}", flush=True)
        self.current = None

    def summary(self) -> str:
        ran = f"{_count(self.seconds)} ran" + (f" in {spoken(sum(self.seconds.values()))}" if self.seconds else "")
        return f"{ran}, {len(self.cached)} came from the cache, {len(self.unchanged)} had not changed"


def study(
    targets: Annotated[list[str] | None, typer.Argument(metavar="[TARGETS...]", help="stages, such as train@classic_linear, with all they need")] = None,
    budget: Annotated[str | None, typer.Option(metavar="NAME", help=f"rebuild at this one: {', '.join(BUDGETS)}; params.yaml then says so")] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild what has changed, and say what came out. Stopped, it goes on when it is called again.

    Example: python -m picollm study train@classic_linear
    """
    _check(targets or [], budget)
    command = ["repro"] if budget is None else ["exp", "run", "--set-param", f"budget={budget}"]
    progress = Progress(quiet=as_json)
    code = _follow([sys.executable, "-m", "dvc", *command, *(targets or [])], progress)
    failed = progress.current if code else None
    progress.end("failed after " if code else "")
    note(progress.seconds)
    if progress.seconds and not code:
        _write_times()
    compared = Path("metrics/compare.json")
    if as_json:
        said: dict[str, Any] = {"code": code, "failed": failed, "ran": progress.seconds, "cached": progress.cached, "unchanged": progress.unchanged}
        print(json.dumps({**said, "compared": read_json(compared) if compared.exists() else None}, indent=2, sort_keys=True))
    else:
        print(progress.summary())
        print(f"\n{overview()}" if not code else _advice(failed))
    raise typer.Exit(code)


def _write_times() -> None:
    """Imported here: drawing and MLflow take seconds, and most calls find nothing to do."""
    from picollm.report.collect import collect
    from picollm.study import Study
    from picollm.timing import page

    params = read()
    parsed = Study(params)
    page.write(parsed, *collect({"budget": parsed.budget, **parsed.params}, Path()), durations())


def _check(targets: Iterable[str], budget: str | None) -> None:
    if budget is not None and budget not in BUDGETS:
        raise UserError(f"budget: unknown {budget!r} {did_you_mean(budget, BUDGETS)}")
    known = list(stages(read()))
    for target in targets:
        if target not in {*known, *(name.partition("@")[0] for name in known)}:
            near = difflib.get_close_matches(target, known, n=1) or [name for name in known if name.endswith(f"@{target}")]
            raise UserError(f"{target}: no such stage{f', did you mean {near[0]!r}?' if near else ';'} python -m picollm status lists them")


def _follow(command: list[str], progress: Progress) -> int:
    """Run DVC to its end, its messages about stages to `progress`, its errors and the bars of trainings to the terminal."""
    with _interruptions(), forkserver.running() as address:
        environment = {"DVC_NO_ANALYTICS": "1", **os.environ, **address, "PYTHONUNBUFFERED": "1"}
        return _listen(command, environment, progress)


@contextmanager
def _interruptions() -> Iterator[None]:
    """SIGTERM is one too, and SIGINT is in every process started here, though a shell's background jobs, and what they start, ignore it."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(command: list[str], environment: dict[str, str], progress: Progress) -> int:
    """DVC has a process group of its own, so that an interruption comes from here: to DVC and the stage at once, as from a terminal, and only once."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, process_group=0) as process:
        assert process.stdout
        try:
            for line in _lines(process.stdout):
                progress.hear(line)
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.stdout.read()
            process.wait()
            progress.end("stopped after ")
            note(progress.seconds)
            raise
    return process.returncode


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Never wait long: Python sees a signal between two calls, and one that came just before a read would wait for DVC's next line, for minutes."""
    rest = b""
    while True:
        if not select.select([stream], [], [], LOOK)[0]:
            continue
        data = os.read(stream.fileno(), 1 << 16)
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if not data:
            return


def _advice(failed: str | None) -> str:
    return f"{failed or 'dvc'} failed, its message stands above; mend that and start the same command again: it goes on there"


def _count(found: Iterable[str]) -> str:
    number = len(list(found))
    return f"{number} stage{'' if number == 1 else 's'}"
