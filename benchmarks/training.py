"""Training speed: forward, backward and AdamW step of both attention kinds against a plain GPT-2 of the same size."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks import timing
from benchmarks.baseline import GPT
from picollm.models.transformer import Config, Model
from picollm.training import optimizers
from picollm.training.recipe import Recipe

WIDTH, LAYERS, HEADS, VOCABULARY, BATCH, LENGTH = 128, 2, 4, 512, 64, 32
BAR = 0.95  # of the baseline's tokens a second, by softmax attention


def stepper(model: torch.nn.Module, steps: int, vocab_size: int = VOCABULARY) -> Callable[[], None]:
    """`steps` training steps on one batch: (B, T) random ids."""
    optimizer = optimizers.build(model, Recipe(steps=1))
    ids = torch.randint(0, vocab_size, (BATCH, LENGTH + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].flatten()

    def run() -> None:
        for _ in range(steps):
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def main(quick: bool) -> None:
    timing.prepare()
    steps, rounds = (3, 9) if quick else (3, 51)  # short turns, so that both sides of a ratio see the same load
    ours = {kind: Model(Config(attention=kind, n_layer=LAYERS, n_head=HEADS, d_model=WIDTH), VOCABULARY) for kind in ("softmax", "linear")}
    models = {"baseline": GPT(VOCABULARY, LAYERS, HEADS, WIDTH, block_size=LENGTH), **ours}
    seconds = timing.interleaved({name: stepper(model, steps) for name, model in models.items()}, rounds)
    print(f"training, {WIDTH} wide, {LAYERS} layers, {HEADS} heads, vocabulary {VOCABULARY}, batch {BATCH} x {LENGTH}")
    for name in models:
        timing.report(f"{name}, thousand tokens a second", steps * BATCH * LENGTH / timing.median(seconds[name]) / 1000)
    for name in ours:
        times, low, high = timing.ratio(seconds, "baseline", name)
        bar = {"bar": f">= {BAR}", "met": times >= BAR} if name == "softmax" else {}
        timing.report(f"{name} against the baseline, times as fast", times, (low, high), **bar)
