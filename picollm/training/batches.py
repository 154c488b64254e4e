"""Batches as pure functions of the step: to resume a training, the step number is all there is to know.

Shapes: B batch, T time, N rows or tokens of a split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from picollm import registry
from picollm.config import parse
from picollm.errors import UserError
from picollm.tokens import TokenFolder
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


def epochs_of(rows: Rows, batch_size: int, seed: int) -> Batches:
    """Every row once an epoch, in an order of its own each time; the last batch of an epoch may be smaller."""
    per_epoch = -(-len(rows) // batch_size)
    current: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(step: int) -> Batch:
        nonlocal current
        epoch, place = divmod(step, per_epoch)
        if current[0] != epoch:
            current = (epoch, np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(rows)))
        return rows.batch(np.sort(current[1][place * batch_size : (place + 1) * batch_size]))

    return batch


def windows_at(stream: np.ndarray, starts: np.ndarray, context: int) -> Batch:
    """The windows of `context` tokens that begin at `starts`."""
    ids = torch.from_numpy(stream[starts[:, None] + np.arange(context + 1)].astype(np.int64))
    return Batch(ids[:, :-1], ids[:, 1:])


def random_windows(stream: np.ndarray, context: int, batch_size: int, seed: int) -> Batches:
    def batch(step: int) -> Batch:
        generator = np.random.Generator(np.random.PCG64([seed, step]))
        return windows_at(stream, generator.integers(0, len(stream) - context, batch_size), context)

    return batch


def training(tokens: TokenFolder, recipe: Recipe, seed: int) -> tuple[Batches, int]:
    """The batches of a run's seed and the number of steps its recipe means.

    Raises UserError when the corpus is shorter than one context or the task has no stream to draw from.
    """
    if tokens.header["kind"] == "text":
        if recipe.steps is None:
            raise UserError("training.epochs: windows of a text are drawn at random, not counted in epochs; give steps")
        return random_windows(_long_enough(tokens, "train", recipe.context), recipe.context, recipe.batch_size, seed), recipe.steps
    if recipe.data == "fixed":
        rows = stored(tokens, "train")
        steps = recipe.steps or (recipe.epochs or 0) * -(-len(rows) // recipe.batch_size)
        return epochs_of(rows, recipe.batch_size, seed), steps
    kind = tokens.header["kind"]
    task = registry.load("tasks", kind, f"{tokens.folder / 'header.json'}: kind")
    stream = task.stream(parse(task.Config, tokens.header["stream"], str(tokens.folder / "header.json")), seed, recipe.batch_size)
    return _streamed(stream, tokens.header["tokenizer"]["pad"], bool(tokens.header.get("targets"))), recipe.steps or 0


def _streamed(stream: Callable[[int], Any], pad: int, own_targets: bool) -> Batches:
    """Of a task's ids, or of its ids and their targets."""

    def batch(step: int) -> Batch:
        ids, targets = stream(step) if own_targets else (stream(step), None)
        return from_rows(ids, pad, targets)

    return batch


def validation(tokens: TokenFolder, recipe: Recipe, most: int = 1024) -> list[Batch]:
    """The same batches every time: the first rows, or evenly spread windows, at most `most` of them."""
    if tokens.header["kind"] == "text":
        stream = _long_enough(tokens, "validation", recipe.context)
        count = min(most, (len(stream) - 1) // recipe.context)
        starts = np.linspace(0, len(stream) - 1 - recipe.context, count).astype(np.int64)
        parts = np.array_split(starts, -(-count // recipe.batch_size))
        return [windows_at(stream, part, recipe.context) for part in parts]
    rows = stored(tokens, "validation")
    count = min(most, len(rows))
    return [rows.batch(part) for part in np.array_split(np.arange(count), -(-count // 256))]


def _long_enough(tokens: TokenFolder, split: str, context: int) -> np.ndarray:
    stream = tokens.split(split)
    if len(stream) <= context:
        raise UserError(
            f"{tokens.folder}: the {split} split has {len(stream)} tokens, fewer than one context of {context} and a target; "
            "shorten training.context or use a larger corpus"
        )
    return stream
