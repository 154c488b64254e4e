"""Independent trainings side by side: at the sizes of this study a second thread gives less than a second process.

Two processes of one thread each do 1.08 times the work of one with two, and they do not wait for each other at every
operation, which was seen to take four to fifteen times as long when anything else wanted the cores.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any

from picollm.core.errors import UserError

Map = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
Stream = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
AHEAD = 3  # items a process that are begun and not yet taken: enough that none of them waits


def share(threads: int, jobs: int, device: str = "cpu") -> tuple[int, int]:
    """How many jobs run at once, and the threads of each: a rule on numbers alone, as threads decide the last bits.

    An accelerator is not divided.
    """
    at_once = max(1, min(threads, jobs)) if device == "cpu" else 1
    return at_once, threads // at_once


def cores() -> int:
    """How many this process may use. For work whose result does not depend on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers(count: int) -> Iterator[Map]:
    """Yield `map(function, items)` -> results in their order, computed by `count` processes, or right here when count is 1.

    Open it before anything that a copy of this process must not share (a database, threads, OpenMP's). When one item
    fails, those already begun are finished, no other begins, and the error is raised.
    """
    with _pool(count, "threads: a training process was killed, perhaps for lack of memory; lower threads, then run again") as pool:
        yield lambda function, items: list(pool.map(function, items) if pool else map(function, items))


@contextmanager
def streaming(count: int) -> Iterator[Stream]:
    """As `workers`, for more items than memory holds: an item is begun only when the one AHEAD * `count` before it has been taken."""
    with _pool(count, "memory: a process that read a text was killed, perhaps for lack of it; free some, then run again") as pool:

        def each(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            if pool is None:
                yield from map(function, items)
                return
            begun: deque[Future[Any]] = deque()
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) == AHEAD * count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

        yield each


@contextmanager
def _pool(count: int, killed: str) -> Iterator[ProcessPoolExecutor | None]:
    if count == 1:
        yield None
        return
    # A fork has everything imported already; elsewhere it is not safe, and the imports are paid once more.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(count, context, initializer=_begin) as pool:
        try:
            pool.submit(os.getpid).result()  # starts them all
            yield pool
        except BrokenProcessPool as error:
            raise UserError(killed) from error
        except KeyboardInterrupt:
            for process in active_children():
                process.kill()  # else they go on to the items that are in their queue already
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """One thread, unless a job prepares its device for more: the others have the other cores."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    _end_with_parent()


def _end_with_parent() -> None:
    """A stage that is killed must not leave trainings behind that write beside its successor's."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
