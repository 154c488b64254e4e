"""`python -m benchmarks [--quick] [NAME ...]`: all benchmarks, or those named, one after the other."""

from picollm.core import startup

startup.apply()  # before torch: the memory of every peer is managed alike

import argparse  # noqa: E402

from benchmarks import attention, decoding, forms, kgram, muon, taps, tokenize, training, variants  # noqa: E402

BENCHMARKS = {
    "training": training,
    "attention": attention,
    "decoding": decoding,
    "forms": forms,
    "variants": variants,
    "kgram": kgram,
    "muon": muon,
    "taps": taps,
    "tokenize": tokenize,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Timings side by side; ratios hold on other machines, times do not.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes: a minute instead of several")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark '{name}' (known: {', '.join(BENCHMARKS)})")
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name].main(arguments.quick)


main()
