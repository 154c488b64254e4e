"""Taps: what they cost while nobody listens, against the same source without them; and what recording costs, in forward passes.

A percent is asked about, which is less than what other processes do to a clock on the wall. So it is processor time, of one thread.
"""

import time
from collections.abc import Callable

import torch

from benchmarks import tap_free, timing
from benchmarks.training import stepper
from picollm.models.transformer import Config, Model
from picollm.nn.decoder import attention_matrices
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.taps import Recorder

WIDTH, LAYERS, HEADS, VOCABULARY = 64, 4, 4, 128
SOME = ("softmax", "linear", "gated_delta")
OFF, RECORDING = 1.01, 2.0  # the bars: times a model without taps, and forward passes


def pair(kind: str) -> tuple[Model, torch.nn.Module]:
    """A model and its copy without taps, over the same weights in memory: where they lie is worth a percent."""
    settings = {"attention": kind, "n_layer": LAYERS, "n_head": HEADS, "d_model": WIDTH}
    model, copy = Model(Config(**settings), VOCABULARY), tap_free.Model(tap_free.Config(**settings), VOCABULARY)
    copy.load_state_dict(model.state_dict(), assign=True)
    return model, copy


def forward(model: torch.nn.Module, ids: torch.Tensor, tap: bool = False) -> Callable[[], None]:
    @torch.no_grad()
    def run() -> None:
        model(ids, tap=Recorder()) if tap else model(ids)

    return run


def ratio(what: str, cases: dict[str, Callable[[], object]], rounds: int, bar: float) -> None:
    """Of the second case to the first."""
    first, second = cases
    times, low, high = timing.ratio(timing.interleaved(cases, rounds, warm=3, clock=time.thread_time), second, first)
    timing.report(what, times, (low, high), bar=f"<= {bar}", met=times <= bar, digits=3)


def passes(kind: str, ids: torch.Tensor, rounds: int) -> None:
    model, copy = pair(kind)
    model.eval(), copy.eval()
    off = forward(model, ids)
    ratio(f"{kind}, taps off, times a model without taps", {"without": forward(copy, ids), "off": off}, rounds, OFF)
    ratio(f"{kind}, recording every site, forward passes", {"off": off, "recording": forward(model, ids, tap=True)}, rounds, RECORDING)
    ratio(f"{kind}, all attention weights, forward passes", {"off": off, "weights": lambda: attention_matrices(model, ids)}, rounds, RECORDING)


def main(quick: bool) -> None:
    timing.prepare()
    torch.set_num_threads(1)
    print(f"taps, {WIDTH} wide, {LAYERS} layers, {HEADS} heads; medians of rounds that take turns, and their quartiles")
    print("64 sequences of 32 tokens")
    for kind in SOME if quick else ("softmax", *VARIANTS):
        passes(kind, torch.randint(0, VOCABULARY, (64, 32)), 20 if quick else 100)
    print("a training step of them")
    for kind in SOME:
        model, copy = pair(kind)
        cases = {"without": stepper(copy, 1, VOCABULARY), "off": stepper(model, 1, VOCABULARY)}
        ratio(f"{kind}, taps off, times a model without taps", cases, 20 if quick else 60, OFF)
    print("one sequence of 32 tokens, where calls are all that costs")
    for kind in SOME:
        passes(kind, torch.randint(0, VOCABULARY, (1, 32)), 100 if quick else 2000)
