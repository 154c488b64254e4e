"""Decoding: with the state against recomputing the whole prefix; time of a token and memory of the state as the context grows."""

from collections.abc import Callable

import torch

from benchmarks import timing
from picollm.models.transformer import Config, Model
from picollm.nn.linear_variants import VARIANTS
from picollm.timing.memory import kilobytes

ROWS = 8  # sequences decoded together while the context grows


@torch.inference_mode()
def cached(model: Model, prompt: torch.Tensor, count: int) -> None:
    """Greedy decoding of `count` tokens after (B, T) ids."""
    state, ids = model.empty_state(len(prompt), prompt.shape[1] + count), prompt
    for _ in range(count):
        ids = model(ids, state=state)[:, -1:].argmax(-1)


@torch.inference_mode()
def uncached(model: Model, prompt: torch.Tensor, count: int) -> None:
    ids = prompt
    for _ in range(count):
        ids = torch.cat((ids, model(ids)[:, -1:].argmax(-1)), 1)


def against_uncached(count: int, rounds: int) -> None:
    for kind in ("softmax", "linear"):
        model = Model(Config(attention=kind), 512).eval()
        prompt = torch.randint(0, 512, (1, 8))
        cases = {"cached": lambda: cached(model, prompt, count), "uncached": lambda: uncached(model, prompt, count)}  # noqa: B023
        seconds = timing.interleaved(cases, rounds)
        for name in cases:
            timing.report(f"{kind}, {name}, tokens a second", count / timing.median(seconds[name]))
        times, low, high = timing.ratio(seconds, "uncached", "cached")
        timing.report(f"{kind}, cached against uncached, times as fast", times, (low, high), bar="> 1", met=times > 1)


def at_context(model: Model, context: int, count: int) -> Callable[[], None]:
    """`count` tokens more after `context` of them. The state is put back each time: a round must not lengthen the next."""
    with torch.inference_mode():
        state = model.empty_state(ROWS, context + count)
        for _ in range(0, context, 128):
            model(torch.randint(0, 512, (ROWS, 128)), state=state)
    ids = torch.randint(0, 512, (ROWS, 1))

    @torch.inference_mode()
    def run() -> None:
        for _ in range(count):
            model(ids, state=state)
        state.position -= count
        for layer in state.layers:
            if hasattr(layer.memory, "count"):
                layer.memory.count -= count

    return run


def over_contexts(contexts: list[int], count: int, rounds: int) -> None:
    for kind in ("softmax", *VARIANTS):
        model = Model(Config(attention=kind), 512).eval()
        seconds = timing.interleaved({str(context): at_context(model, context, count) for context in contexts}, rounds)
        for context in contexts:
            timing.report(f"{kind}, context {context}, microseconds a token", 1e6 * timing.median(seconds[str(context)]) / count)
        times, low, high = timing.ratio(seconds, str(contexts[-1]), str(contexts[0]))
        bar = {"bar": "> 1.1", "met": times > 1.1} if kind == "softmax" else {"bar": "0.9 .. 1.1", "met": 0.9 <= times <= 1.1}
        timing.report(f"{kind}, context {contexts[-1]} against {contexts[0]}, times as slow", times, (low, high), **bar)
        first, last = (kilobytes(model, context) for context in (contexts[0], contexts[-1]))
        timing.report(f"{kind}, kB a sequence remembers at context {contexts[-1]}", last, bar="" if kind == "softmax" else "the same", met=first == last)


def main(quick: bool) -> None:
    timing.prepare()
    print(f"decoding, 128 wide, 2 layers, one sequence of 256 tokens; then {ROWS} sequences at a growing context")
    against_uncached(64 if quick else 256, 3 if quick else 7)
    over_contexts([128, 2048] if quick else [128, 512, 2048, 8192], 16 if quick else 64, 5 if quick else 15)
