"""Causal linear attention against PyTorch's softmax kernel on long sequences: time, memory and how both grow.

`python -m benchmarks.attention KIND TOKENS` prints the peak memory in MB that one forward and backward pass adds.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import timing
from picollm import allocator
from picollm.nn import linear_attention, softmax_attention

HEADS, WIDTH = 8, 64
BAR_TIMES, BAR_MEGABYTES = 12, 900  # at the longest sequence
ATTEND = {"softmax": softmax_attention.attend, "linear": linear_attention.attend}


def passes(kind: str, tokens: int) -> Callable[[], None]:
    """Forward and backward through one attention, (1, H, T, K)."""
    q, k, v = (torch.randn(1, HEADS, tokens, WIDTH, requires_grad=True) for _ in range(3))
    gradient = torch.randn(1, HEADS, tokens, WIDTH)

    def run() -> None:
        for x in (q, k, v):
            x.grad = None
        ATTEND[kind](q, k, v).backward(gradient)

    return run


def peak() -> float:
    """The most memory this program ever held, in MB. (ru_maxrss would count the program that started it too.)"""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def main(quick: bool) -> None:
    timing.prepare()
    lengths = [2048, 4096] if quick else [2048, 4096, 8192, 16384]
    print(f"causal attention, forward and backward, {HEADS} heads x {WIDTH}")
    medians: dict[str, list[float]] = {kind: [] for kind in ATTEND}
    memory: dict[str, list[float]] = {kind: [] for kind in ATTEND}
    for tokens in lengths:
        seconds = timing.interleaved({kind: passes(kind, tokens) for kind in ATTEND}, 3 if quick or tokens > 8192 else 5)
        for kind in ATTEND:
            medians[kind].append(timing.median(seconds[kind]))
            memory[kind].append(timing.in_subprocess("benchmarks.attention", kind, str(tokens)))
            timing.report(f"{tokens:6} tokens, {kind}, milliseconds", medians[kind][-1] * 1000)
            timing.report(f"{tokens:6} tokens, {kind}, MB at the peak", memory[kind][-1])
        times, low, high = timing.ratio(seconds, "softmax", "linear")
        bar = {"bar": f">= {BAR_TIMES}", "met": times >= BAR_TIMES} if tokens == 16384 else {}
        timing.report(f"{tokens:6} tokens, linear against softmax, times as fast", times, (low, high), **bar)
    for kind in ATTEND:
        timing.report(f"{kind}, time grows with the length to the power of", timing.growth(lengths, medians[kind]))
    power = timing.growth(lengths, memory["linear"])
    timing.report("linear, memory grows with the length to the power of", power, bar="<= 1.1", met=power <= 1.1)
    timing.report(f"linear, MB at {lengths[-1]} tokens", memory["linear"][-1], bar=f"<= {BAR_MEGABYTES}", met=memory["linear"][-1] <= BAR_MEGABYTES)


if __name__ == "__main__":
    allocator.apply()
    timing.prepare()
    run, before = passes(sys.argv[1], int(sys.argv[2])), peak()
    run()
    print(peak() - before)
