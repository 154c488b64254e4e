"""The parallel against the chunked form of linear attention: where they cross is what `PARALLEL_UP_TO` rests on."""

import torch

from benchmarks import timing
from picollm.nn import linear_attention

TOKENS = 8192  # in all, whatever the length of a sequence


def main(quick: bool) -> None:
    timing.prepare()
    lengths = [32, 256, 1024] if quick else [32, 64, 128, 256, 512, 1024]
    print(f"linear attention, forward and backward, 4 heads, {TOKENS} tokens; picollm takes the parallel form up to {linear_attention.PARALLEL_UP_TO}")
    for width in (32,) if quick else (16, 32, 64):
        for length in lengths:
            q, k, v = (torch.randn(TOKENS // length, 4, length, width, requires_grad=True) for _ in range(3))
            cases = {form: lambda form=form: linear_attention.attend(q, k, v, form).sum().backward() for form in ("parallel", "chunked")}  # noqa: B023
            times, low, high = timing.ratio(timing.interleaved(cases, 5 if quick else 15), "chunked", "parallel")
            timing.report(f"heads {width} wide, {length:5} tokens, parallel against chunked", times, (low, high))
