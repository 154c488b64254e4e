"""Batches as pure functions of the step: to resume a training, the step number is all there is to know.

An epoch of stored sequences, or of a text's windows end to end, has each of them once, in an order of its own. A mixture of
texts is drawn from: its epoch is as many windows as all of its sources have.

Shapes: B batch, T time, N rows or tokens of a split.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from picollm.core import registry
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.tokens import TokenFolder
from picollm.training.recipe import Recipe

IGNORED = -100  # a target that is not scored: PyTorch's own mark


class Batch(NamedTuple):
    inputs: Tensor  # (B, T) ids
    targets: Tensor  # (B, T) the ids one later, or the task's own targets; IGNORED where there is nothing to predict

    @property
    def tokens(self) -> int:
        """How many targets are scored."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.inputs.to(device), self.targets.to(device))


Batches = Callable[[int], Batch]


def from_rows(ids: np.ndarray, pad: int, targets: np.ndarray | None = None) -> Batch:
    """A batch that never scores the pad: of (B, T + 1) ids, each the target of those before it, or of (B, T) ids with (B, T) targets of their own."""
    rows = torch.from_numpy(ids.astype(np.int64))
    inputs, wanted = (rows[:, :-1], rows[:, 1:]) if targets is None else (rows, torch.from_numpy(targets.astype(np.int64)))
    return Batch(inputs, wanted.masked_fill(wanted == pad, IGNORED))


@dataclass(frozen=True, eq=False)
class Rows:
    """The stored sequences of a split: batches are made of some of them."""

    ids: np.ndarray  # (N, L)
    pad: int
    targets: np.ndarray | None = None  # (N, L), of a task that has its own

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, chosen: np.ndarray | slice) -> Batch:
        return from_rows(self.ids[chosen], self.pad, None if self.targets is None else self.targets[chosen])


def stored(tokens: TokenFolder, split: str) -> Rows:
    """Raises UserError for a split without a sequence."""
    ids = tokens.split(split)
    if not len(ids):
        raise UserError(f"{tokens.folder}: the {split} split has no sequences; give the task some")
    return Rows(ids, tokens.header["tokenizer"]["pad"], tokens.split(f"{split}.targets") if tokens.header.get("targets") else None)


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of a text, end to end; the last one ends with the text, where it may overlap the one before."""

    stream: np.ndarray  # (N,)
    context: int

    def __len__(self) -> int:
        return -(-(len(self.stream) - 1) // self.context)

    def batch(self, chosen: np.ndarray) -> Batch:
        return windows_at(self.stream, np.minimum(chosen * self.context, len(self.stream) - 1 - self.context), self.context)


def epochs_of(rows: Rows | Windows, batch_size: int, seed: int, most: int | None = None) -> Batches:
    """Every row once an epoch, in an order of its own each time; the last batch of an epoch may be smaller. `most`: batches of an epoch."""
    per_epoch = steps_of_epoch(len(rows), batch_size, most)
    current: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(step: int) -> Batch:
        nonlocal current
        epoch, place = divmod(step, per_epoch)
        if current[0] != epoch:
            current = (epoch, np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(rows)))
        return rows.batch(np.sort(current[1][place * batch_size : (place + 1) * batch_size]))

    return batch


def steps_of_epoch(rows: int, batch_size: int, most: int | None) -> int:
    return min(-(-rows // batch_size), most or rows)


def windows_at(stream: np.ndarray, starts: np.ndarray, context: int) -> Batch:
    """The windows of `context` tokens that begin at `starts`."""
    ids = torch.from_numpy(stream[starts[:, None] + np.arange(context + 1)].astype(np.int64))
    return Batch(ids[:, :-1], ids[:, 1:])


def random_windows(stream: np.ndarray, context: int, batch_size: int, seed: int) -> Batches:
    def batch(step: int) -> Batch:
        generator = np.random.Generator(np.random.PCG64([seed, step]))
        return windows_at(stream, generator.integers(0, len(stream) - context, batch_size), context)

    return batch


def drawn(weights: np.ndarray, batch_size: int, generator: np.random.Generator) -> np.ndarray:
    """How many windows of a batch each source of a mixture gives: within one of its weight's share, which is the mean over steps."""
    points = (generator.random() + np.arange(batch_size)) / batch_size  # one random number for all: nothing varies more than it must
    edges = np.cumsum(weights)[:-1].round(12)  # a last source of weight 0 begins at 1 and not just below
    return np.diff(np.searchsorted(points, edges), prepend=0, append=batch_size)


def mixed_windows(streams: Sequence[np.ndarray], weights: Sequence[float], context: int, batch_size: int, seed: int) -> Batches:
    """Random windows of several texts, in each batch in proportion to their weights."""

    def batch(step: int) -> Batch:
        generator = np.random.Generator(np.random.PCG64([seed, step]))
        counts = drawn(np.array(weights), batch_size, generator)
        parts = [
            windows_at(stream, generator.integers(0, len(stream) - context, count), context) for stream, count in zip(streams, counts, strict=True) if count
        ]
        return Batch(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts]))

    return batch


def realised(weights: Mapping[str, float], batch_size: int, seed: int, steps: int) -> dict[str, float]:
    """The share of the training tokens that each source of a mixture gave; windows are equally long."""
    values = np.array(list(weights.values()))
    counts = np.zeros(len(values), np.int64)
    for step in range(steps):
        counts += drawn(values, batch_size, np.random.Generator(np.random.PCG64([seed, step])))
    return dict(zip(weights, (counts / (batch_size * steps)).tolist(), strict=True))


def training(tokens: TokenFolder, recipe: Recipe, seed: int) -> tuple[Batches, int]:
    """The batches of a run's seed and the number of steps its recipe means.

    Raises UserError when the corpus is shorter than one context, or has fewer examples than the recipe takes.
    """
    if tokens.header["kind"] == "text":
        return _text(tokens, recipe, seed)
    if recipe.data == "fixed":
        rows = stored(tokens, "train")
        rows = Rows(rows.ids[: _most(recipe, len(rows))], rows.pad, None if rows.targets is None else rows.targets[: recipe.examples])
        return epochs_of(rows, recipe.batch_size, seed, recipe.max_steps_per_epoch), _steps(recipe, len(rows))
    kind = tokens.header["kind"]
    task = registry.load("tasks", kind, f"{tokens.folder / 'header.json'}: kind")
    stream = task.stream(parse(task.Config, tokens.header["stream"], str(tokens.folder / "header.json")), seed, recipe.batch_size)
    return _streamed(stream, tokens.header["tokenizer"]["pad"], bool(tokens.header.get("targets"))), recipe.steps or 0


def _text(tokens: TokenFolder, recipe: Recipe, seed: int) -> tuple[Batches, int]:
    streams = _sources(tokens, "train", recipe)
    weights = tokens.weights
    windows = [Windows(stream, recipe.context) for stream in streams.values()]
    steps = _steps(recipe, sum(map(len, windows)))
    if len(windows) > 1:
        return mixed_windows(list(streams.values()), list(weights.values()), recipe.context, recipe.batch_size, seed), steps
    if recipe.data == "fixed":
        return epochs_of(windows[0], recipe.batch_size, seed, recipe.max_steps_per_epoch), steps
    return random_windows(windows[0].stream, recipe.context, recipe.batch_size, seed), steps


def _steps(recipe: Recipe, rows: int) -> int:
    return recipe.steps or (recipe.epochs or 0) * steps_of_epoch(rows, recipe.batch_size, recipe.max_steps_per_epoch)


def _most(recipe: Recipe, count: int) -> int:
    """How many examples of `count` are trained on."""
    if recipe.examples is not None and recipe.examples > count:
        raise UserError(f"training.examples: {recipe.examples}, but the training split has {count}; lower it, or give the task more")
    return recipe.examples or count


def _streamed(stream: Callable[[int], Any], pad: int, own_targets: bool) -> Batches:
    """Of a task's ids, or of its ids and their targets."""

    def batch(step: int) -> Batch:
        ids, targets = stream(step) if own_targets else (stream(step), None)
        return from_rows(ids, pad, targets)

    return batch


def validation(tokens: TokenFolder, recipe: Recipe, most: int = 1024) -> list[Batch]:
    """The same batches every time: the first rows, or evenly spread windows (of a mixture, in proportion to the weights), at most `most` of them."""
    if tokens.header["kind"] == "text":
        streams = _sources(tokens, "validation", recipe)
        weights = tokens.weights or dict.fromkeys(streams, 1.0)
        total = min([float(most), *(_windows_in(stream, recipe.context) / weights[name] for name, stream in streams.items() if weights[name])])
        counts = {name: max(1, int(total * weights[name])) for name in streams if weights[name]}
        return [batch for name, count in counts.items() for batch in _spread(streams[name], count, recipe)]
    rows = stored(tokens, "validation")
    count = min(most, len(rows))
    return [rows.batch(part) for part in np.array_split(np.arange(count), -(-count // 256))]


def _windows_in(stream: np.ndarray, context: int) -> int:
    return (len(stream) - 1) // context


def _spread(stream: np.ndarray, count: int, recipe: Recipe) -> list[Batch]:
    starts = np.linspace(0, len(stream) - 1 - recipe.context, count).astype(np.int64)
    return [windows_at(stream, part, recipe.context) for part in np.array_split(starts, -(-count // recipe.batch_size))]


def _sources(tokens: TokenFolder, split: str, recipe: Recipe) -> dict[str, np.ndarray]:
    """{name: stream} of a text's sources; of one that has no name, "". In training, of as many documents as the recipe takes."""
    streams = {name: stream for name, stream, _ in tokens.sources(split)}
    if split == "train" and recipe.examples is not None:
        streams = {name: _documents(tokens, stream, recipe) for name, stream in streams.items()}
    for name, stream in streams.items():
        if len(stream) <= recipe.context and tokens.weights.get(name, 1):
            raise UserError(
                f"{tokens.folder}: the {split} split{f' of {name}' if name else ''} has {len(stream)} tokens, fewer than one context of {recipe.context} "
                "and a target; shorten training.context or use a larger corpus"
            )
    return streams


def _documents(tokens: TokenFolder, stream: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Some documents with their end tokens: the first of a random order that is the same for all seeds, so that fewer are among more."""
    if not tokens.header["splits"]["train"]["whole"]:
        raise UserError("training.examples: a single file is one document; set lines: true in its task, or remove it")
    ends = np.flatnonzero(stream == tokens.header["end"])
    count = _most(recipe, len(ends) - 1)
    chosen = np.sort(np.random.Generator(np.random.PCG64(0)).permutation(len(ends) - 1)[:count])
    return np.concatenate([stream[:1], *(stream[ends[i] + 1 : ends[i + 1] + 1] for i in chosen)])
