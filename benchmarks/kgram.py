"""The k-gram network at 50,257 words: rows of a table against one-hot vectors, the three variants, and memory as sequences grow.

`python -m benchmarks.kgram VARIANT ROWS TOKENS CHUNK` prints the peak memory in MB that one forward and backward pass adds
to the weights (as benchmarks/attention.py does); VARIANT may be `literal` too, the one-hot network with one-hot vectors.
"""

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.attention import peak
from picollm.models import Model as AnyModel
from picollm.models.kgram import Config, Model
from picollm.training import optimizers
from picollm.training.recipe import Recipe

VOCABULARY, K, WIDTH, LAYERS, ROWS, LENGTH = 50_257, 2, 64, 2, 32, 32  # the sizes of the originals' table
VARIANTS = ("onehot", "embedding", "convolution")
WARM = 3  # rounds, until the heap has its size: pages that are new cost more than the rows read into them


class Literal(Model):
    """What `onehot` is by definition: one-hot vectors of the last k tokens side by side, times a matrix (k V, H)."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        rows = self.embed.weight.detach().view(vocab_size, config.k, config.hidden)
        self.matrix = nn.Parameter(rows.transpose(0, 1).flatten(0, 1).contiguous())
        del self.embed

    def _first(self, ids: Tensor) -> Tensor:
        T = ids.shape[1]
        x = F.one_hot(ids, self.vocab_size).float()
        return torch.cat([F.pad(x, (0, 0, back, 0))[:, :T] for back in range(self.config.k)], -1) @ self.matrix


def build(variant: str, chunk: int = 64) -> Model:
    torch.manual_seed(0)
    kind = Literal if variant == "literal" else Model
    return kind(Config(variant="onehot" if variant == "literal" else variant, k=K, n_layer=LAYERS, d_model=WIDTH, chunk=chunk), VOCABULARY)


def draw(rows: int, tokens: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, VOCABULARY, (rows, tokens + 1))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def passes(model: AnyModel, rows: int, tokens: int) -> Callable[[], None]:
    """Forward and backward."""
    ids, targets = draw(rows, tokens)

    def run() -> None:
        model.zero_grad(set_to_none=True)
        model.loss(ids, targets).backward()

    return run


def first_layer(model: Model) -> Callable[[], None]:
    """Forward and backward of what becomes of the last k tokens, up to the first activation."""
    ids, _ = draw(ROWS, LENGTH)

    def run() -> None:
        model.zero_grad(set_to_none=True)
        model._first(ids).sum().backward()

    return run


def stepper(model: AnyModel) -> Callable[[], None]:
    """A training step: both passes, the gradient's norm, AdamW."""
    optimizer, run_passes = optimizers.build(model, Recipe(steps=1)), passes(model, ROWS, LENGTH)

    def run() -> None:
        run_passes()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def table(sparse: bool) -> Callable[[], None]:
    """A step of the one-hot table alone, with a dense gradient and AdamW or with rows alone and their Adam (which has neither decay nor a clip)."""
    weight = nn.Parameter(torch.randn(VOCABULARY, K * WIDTH))
    optimizer = torch.optim.SparseAdam([weight]) if sparse else torch.optim.AdamW([weight], fused=True)
    ids, _ = draw(ROWS, LENGTH)

    def run() -> None:
        weight.grad = None
        F.embedding(ids, weight, sparse=sparse).sum().backward()
        if not sparse:
            nn.utils.clip_grad_norm_([weight], 1.0)
        optimizer.step()

    return run


def memory(variant: str, rows: int, tokens: int, chunk: int) -> float:
    return timing.in_subprocess("benchmarks.kgram", variant, str(rows), str(tokens), str(chunk))


def against_literal(rounds: int) -> None:
    models = {variant: build(variant) for variant in ("literal", "onehot")}
    for what, case in (("first layer", first_layer), ("whole network", lambda model: passes(model, ROWS, LENGTH))):
        seconds = timing.interleaved({name: case(model) for name, model in models.items()}, rounds, WARM)
        for name in models:
            timing.report(f"{what}, {name}, milliseconds", 1000 * timing.median(seconds[name]))
        times, low, high = timing.ratio(seconds, "literal", "onehot")
        timing.report(f"{what}, rows against one-hot vectors, times as fast", times, (low, high), bar="> 1", met=times > 1)
    used = {name: memory(name, ROWS, LENGTH, 64) for name in models}
    for name, megabytes in used.items():
        timing.report(f"whole network, {name}, MB at the peak", megabytes)
    timing.report(
        "whole network, one-hot vectors against rows, times the memory", used["literal"] / used["onehot"], bar="> 1", met=used["literal"] > used["onehot"]
    )


def variants(rounds: int) -> None:
    seconds = timing.interleaved({name: stepper(build(name)) for name in (*VARIANTS, "literal")}, rounds, WARM)
    for name in seconds:
        timing.report(f"training, {name}, thousand tokens a second", ROWS * LENGTH / timing.median(seconds[name]) / 1000)
    for name in seconds:
        times, low, high = timing.ratio(seconds, name, "embedding")
        timing.report(f"training, {name}, a step's time against embedding", times, (low, high))
    gradients = timing.interleaved({"dense": table(False), "sparse": table(True), "step": stepper(build("onehot"))}, rounds, WARM)
    for name in ("dense", "sparse"):
        timing.report(f"the table alone, {name} gradient, % of a step of onehot", 100 * timing.median(gradients[name]) / timing.median(gradients["step"]))


def growing(lengths: list[int], rounds: int) -> None:
    for variant in VARIANTS:
        used = [memory(variant, 4, tokens, 64) for tokens in lengths]
        for tokens, megabytes in zip(lengths, used, strict=True):
            timing.report(f"4 x {tokens:5} tokens, {variant}, MB at the peak", megabytes)
        times = used[-1] / used[0]
        timing.report(f"{variant}, memory at {lengths[-1]} against {lengths[0]} tokens", times, bar="<= 1.1", met=times <= 1.1)
    timing.report(f"4 x {lengths[1]:5} tokens, embedding, not in chunks, MB at the peak", memory("embedding", 4, lengths[1], lengths[1]))
    seconds = timing.interleaved({"chunks": passes(build("embedding"), 4, 512), "whole": passes(build("embedding", 512), 4, 512)}, rounds, WARM)
    times, low, high = timing.ratio(seconds, "chunks", "whole")
    timing.report("4 x   512 tokens, chunks of 64 against none, times as slow", times, (low, high))


def prepare() -> None:
    """One thread, as a seed trains on: a lookup is over before a second thread has woken up."""
    timing.prepare()
    torch.set_num_threads(1)


def main(quick: bool) -> None:
    prepare()
    print(f"k-gram networks, k = {K}, {WIDTH} wide, {LAYERS} inner layers, {VOCABULARY} words, batch {ROWS} x {LENGTH}")
    rounds = 3 if quick else 9
    against_literal(rounds)
    variants(rounds)
    growing([256, 1024] if quick else [256, 1024, 4096], rounds)


if __name__ == "__main__":
    prepare()
    variant, rows, tokens, chunk = sys.argv[1], *map(int, sys.argv[2:])
    run = passes(build(variant, chunk), rows, tokens)
    before = peak()
    run()
    print(peak() - before)
