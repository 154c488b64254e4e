"""Timing side by side: the cases take turns, so that a busy machine slows all of them alike, and medians are compared."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import torch

from picollm.core import startup

Seconds = dict[str, list[float]]  # of each case, in the order of the rounds
THREADS = 2


def prepare() -> None:
    """The same threads and the same random numbers for every case of a process."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1, clock: Callable[[], float] = time.perf_counter) -> Seconds:
    """Every case once a round, in turn forwards and backwards; the first rounds warm up and are not counted."""
    seconds: Seconds = {name: [] for name in cases}
    for turn in range(warm + rounds):
        for name in list(cases)[:: 1 if turn % 2 else -1]:
            began = clock()
            cases[name]()
            if turn >= warm:
                seconds[name].append(clock() - began)
    return seconds


def median(values: list[float]) -> float:
    return statistics.median(values)


def ratio(seconds: Seconds, slow: str, fast: str) -> tuple[float, float, float]:
    """How many times `fast` is faster than `slow`: the median of the rounds' ratios, and their lower and upper quartile."""
    each = sorted(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
    low, _, high = statistics.quantiles(each, method="inclusive") if len(each) > 1 else (each[0], 0.0, each[0])
    return median(each), low, high


def growth(sizes: list[int], values: list[float]) -> float:
    """The exponent p of value ~ size^p, by least squares on logarithms."""
    x, y = torch.tensor(sizes).double().log(), torch.tensor(values).double().log()
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


def report(what: str, measured: float, spread: tuple[float, float] | None = None, bar: str = "", met: bool = True, digits: int = 2) -> None:
    """One line: `softmax / baseline   1.03x  (0.99 .. 1.05)   bar 0.95x  ok`."""
    quartiles = f"  ({spread[0]:.{digits}f} .. {spread[1]:.{digits}f})" if spread else ""
    print(f"  {what:<58} {measured:8.{digits}f}{quartiles:<20}" + (f"  bar {bar}: {'ok' if met else 'MISSED'}" if bar else ""), flush=True)


def in_subprocess(module: str, *arguments: str) -> float:
    """The number that `python -m module arguments` prints: for peak memory, which a process never forgets.

    Its large blocks come from the system and go back to it.
    """
    environment = {name: value for name, value in os.environ.items() if name not in startup.SETTINGS} | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    result = subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True, env=environment)
    return float(result.stdout.strip())
