"""Independent trainings side by side: at the sizes of this study a second thread gives less than a second process.

Two processes of one thread each do 1.08 times the work of one with two, and they do not wait for each other at every
operation, which was seen to take four to fifteen times as long when anything else wanted the cores.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from picollm.errors import UserError

Map = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


def share(threads: int, jobs: int, device: str = "cpu") -> tuple[int, int]:
    """How many jobs run at once, and the threads of each: a rule on numbers alone, as threads decide the last bits.

    An accelerator is not divided.
    """
    at_once = max(1, min(threads, jobs)) if device == "cpu" else 1
    return at_once, threads // at_once


@contextmanager
def workers(count: int) -> Iterator[Map]:
    """Yield `map(function, items)` -> results in their order, computed by `count` processes, or right here when count is 1.

    Open it before anything that a copy of this process must not share (a database, threads, OpenMP's). When one item
    fails, those already begun are finished, no other begins, and the error is raised.
    """
    if count == 1:
        yield lambda function, items: [function(item) for item in items]
        return
    # A fork has everything imported already; elsewhere it is not safe, and the imports are paid once more.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(count, context, initializer=_end_with_parent) as pool:
        try:
            pool.submit(os.getpid).result()  # starts them all
            yield lambda function, items: list(pool.map(function, items))
        except BrokenProcessPool as error:
            raise UserError("threads: a training process was killed, perhaps for lack of memory; lower threads, then run again") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A stage that is killed must not leave trainings behind that write beside its successor's."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
