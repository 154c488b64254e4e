"""What each model of the attention study costs: time of a training step beside softmax, and memory of the state it generates from."""

from benchmarks import timing
from benchmarks.training import stepper
from picollm import models
from picollm.core.config import read
from picollm.models.transformer import Model
from picollm.study import Study
from picollm.timing.memory import kilobytes

GROUP, FIRST, VOCABULARY, CONTEXT = "attention", "softmax", 128, 512


def main(quick: bool) -> None:
    timing.prepare()
    blocks = Study(read()).variants(GROUP)
    rounds, names = (3, [FIRST, "linear", "gated_delta"]) if quick else (15, list(blocks))
    built = {name: models.build(blocks[name], VOCABULARY, name) for name in names}
    seconds = timing.interleaved({name: stepper(model, 2, VOCABULARY) for name, model in built.items()}, rounds)
    print(f"the models of variants.{GROUP}, AdamW, one step of 64 x 32 tokens; what a sequence remembers at {CONTEXT} tokens")
    for name, model in built.items():
        times, low, high = timing.ratio(seconds, name, FIRST)
        timing.report(f"{name}, a step's time against {FIRST}", times, (low, high))
        if isinstance(model, Model):
            timing.report(f"{name}, kB a sequence", kilobytes(model, CONTEXT if model.max_length is None else model.max_length))
