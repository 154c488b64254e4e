"""Every kind of linear attention against PyTorch's softmax kernel on long sequences: time, memory and how both grow.

`python -m benchmarks.attention KIND TOKENS` prints the peak memory in MB that one forward and backward pass adds. There
every block comes from the system and goes back to it, so that it is what the pass needs, without the gaps of a heap.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import timing
from picollm.nn.attention import TAYLOR_WIDTH
from picollm.nn.linear_variants import VARIANTS, LinearKernel
from picollm.nn.softmax_attention import SoftmaxKernel
from picollm.nn.taps import untapped

HEADS, WIDTH = 8, 64
LONGEST = 16384
BAR_TIMES, BAR_MEGABYTES = 15, 900  # of linear attention with elu + 1 at the longest sequence
BAR_SLOWER = 3  # times as slow as that may any other variant be


def passes(kind: str, tokens: int) -> Callable[[], None]:
    """Forward and backward through one attention, features, gates and norm included; (1, H, T, K)."""
    width = TAYLOR_WIDTH if kind == "taylor" else WIDTH
    kernel = SoftmaxKernel(HEADS, WIDTH, False, "constant", False, 0.0)
    if kind != "softmax":
        kernel = LinearKernel(kind, HEADS * WIDTH, HEADS, width, WIDTH, False, False, "auto", None)
    q, k, v = (torch.randn(1, HEADS, tokens, size, requires_grad=True) for size in (width, width, WIDTH))
    x = torch.randn(1, tokens, HEADS * WIDTH, requires_grad=True)
    gradient = torch.randn(1, HEADS, tokens, WIDTH)

    def run() -> None:
        for tensor in (q, k, v, x, *kernel.parameters()):
            tensor.grad = None
        kernel(q, k, v, x, untapped, "", None, 0).backward(gradient)

    return run


def peak() -> float:
    """The most memory this program ever held, in MB. (ru_maxrss would count the program that started it too.)"""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def growing(lengths: list[int], rounds: int) -> None:
    """Softmax against linear (elu + 1): time and memory as the sequence grows."""
    kinds = ("softmax", "linear")
    medians: dict[str, list[float]] = {kind: [] for kind in kinds}
    memory: dict[str, list[float]] = {kind: [] for kind in kinds}
    for tokens in lengths:
        seconds = timing.interleaved({kind: passes(kind, tokens) for kind in kinds}, 3 if tokens > 8192 else rounds)
        for kind in kinds:
            medians[kind].append(timing.median(seconds[kind]))
            memory[kind].append(timing.in_subprocess("benchmarks.attention", kind, str(tokens)))
            timing.report(f"{tokens:6} tokens, {kind}, milliseconds", medians[kind][-1] * 1000)
            timing.report(f"{tokens:6} tokens, {kind}, MB at the peak", memory[kind][-1])
        times, low, high = timing.ratio(seconds, "softmax", "linear")
        bar = {"bar": f">= {BAR_TIMES}", "met": times >= BAR_TIMES} if tokens == LONGEST else {}
        timing.report(f"{tokens:6} tokens, linear against softmax, times as fast", times, (low, high), **bar)
    for kind in kinds:
        timing.report(f"{kind}, time grows with the length to the power of", timing.growth(lengths, medians[kind]))
    power = timing.growth(lengths, memory["linear"])
    timing.report("linear, memory grows with the length to the power of", power, bar="<= 1.1", met=power <= 1.1)


def variants(tokens: int, rounds: int) -> None:
    """Every linear variant against elu + 1."""
    seconds = timing.interleaved({kind: passes(kind, tokens) for kind in VARIANTS}, rounds)
    for kind in VARIANTS:
        times, low, high = timing.ratio(seconds, kind, "linear")
        timing.report(f"{tokens:6} tokens, {kind} against linear, times as slow", times, (low, high), bar=f"<= {BAR_SLOWER}", met=times <= BAR_SLOWER)
        memory = timing.in_subprocess("benchmarks.attention", kind, str(tokens))
        timing.report(f"{tokens:6} tokens, {kind}, MB at the peak", memory, bar=f"<= {BAR_MEGABYTES}", met=memory <= BAR_MEGABYTES)


def main(quick: bool) -> None:
    timing.prepare()
    print(f"causal attention, forward and backward, {HEADS} heads x {WIDTH}")
    growing([2048, 4096] if quick else [2048, 4096, 8192, LONGEST], 3 if quick else 5)
    variants(4096 if quick else LONGEST, 3 if quick else 7)


if __name__ == "__main__":
    timing.prepare()
    run, before = passes(sys.argv[1], int(sys.argv[2])), peak()
    run()
    print(peak() - before)
