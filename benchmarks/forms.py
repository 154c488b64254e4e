"""The parallel against the chunked form of every linear variant: where they cross is what `Variant.parallel_up_to` rests on."""

import torch

from benchmarks import timing
from picollm.nn.attention import TAYLOR_WIDTH
from picollm.nn.features import taylor_width
from picollm.nn.linear_variants import VARIANTS, LinearKernel
from picollm.nn.taps import untapped

TOKENS, HEADS = 8192, 4  # tokens in all, whatever the length of a sequence


def main(quick: bool) -> None:
    timing.prepare()
    lengths = [32, 256, 1024] if quick else [32, 64, 128, 256, 512]
    print(f"linear attention, forward and backward, {HEADS} heads, {TOKENS} tokens")
    for kind, variant in VARIANTS.items():
        for width in (32,) if quick else (16, 32, 64):
            qk = min(width, TAYLOR_WIDTH) if kind == "taylor" else width
            features = taylor_width(qk) if kind == "taylor" else qk
            print(f"{kind}, heads {width} wide: chunks of {variant.chunk(features)}, the parallel form up to {variant.parallel_up_to(features)} tokens")
            for length in lengths:
                shape = (TOKENS // length, HEADS, length)
                inputs = [torch.randn(*shape, size, requires_grad=True) for size in (qk, qk, width)]
                x = torch.randn(TOKENS // length, length, HEADS * width)
                kernels = {form: LinearKernel(kind, HEADS * width, HEADS, qk, width, False, False, form, None) for form in ("parallel", "chunked")}
                cases = {form: lambda kernel=kernel: kernel(*inputs, x, untapped, "", None, 0).sum().backward() for form, kernel in kernels.items()}  # noqa: B023
                times, low, high = timing.ratio(timing.interleaved(cases, 5 if quick else 9), "chunked", "parallel")
                timing.report(f"{length:5} tokens, parallel against chunked", times, (low, high))
