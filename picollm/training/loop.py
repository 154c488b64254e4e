"""The training loop: steps, curves, and a state saved often enough that a kill costs seconds.

A training is a function of its recipe and seed. Whether it ran in one go or was killed and resumed cannot be seen in
its weights or curves: batches depend on the step alone, and the state is saved only where a point of the curves ends.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from picollm.core.errors import UserError
from picollm.models import Model
from picollm.training import checkpoints, optimizers
from picollm.training.batches import IGNORED, Batch, Batches
from picollm.training.initial_states import begin
from picollm.training.recipe import Recipe
from picollm.training.schedules import learning_rate

Row = dict[str, float]  # a point of the curves: step, tokens, train_loss, lr, grad_norm, perhaps validation_loss
Log = Callable[[list[Row]], None]


def loss_of(model: Model, batch: Batch, initial_state: str = "zeros") -> torch.Tensor:
    """Mean nats per scored target."""
    return model.loss(batch.inputs, batch.targets, begin(model, batch.inputs, initial_state))


@torch.inference_mode()
def validate(model: Model, batches: list[Batch]) -> float:
    """Mean nats per scored target over all batches."""
    model.eval()
    total = sum(float(loss_of(model, batch.to(model.device))) * batch.tokens for batch in batches)
    model.train()
    return total / sum(batch.tokens for batch in batches)


@torch.inference_mode()
def exact(model: Model, batches: list[Batch]) -> float:
    """The share of the sequences all of whose targets are the likeliest tokens."""
    model.eval()
    right = sum(int(((model(x).argmax(-1) == y) | (y == IGNORED)).all(1).sum()) for x, y in (batch.to(model.device) for batch in batches))
    model.train()
    return right / sum(len(batch.inputs) for batch in batches)


def train(
    model: Model,
    batches: Batches,
    steps: int,
    validation: list[Batch],
    recipe: Recipe,
    *,
    state: Path | None = None,
    log: Log = lambda rows: None,
    keep: Callable[[int], None] = lambda step: None,
    whole: bool = False,
    label: str = "train",
    line: int = 0,
) -> list[Row]:
    """Train `model` in place; the curves' rows.

    `state` is the folder to resume from and to save to. `log` gets the new rows (with tokens_per_second) before each
    save; rows of the last seconds before a kill may reach it twice, never not at all. `keep` is called after every step.
    `whole`: rows with a validation_loss also have validation_exact, the share of sequences without an error.
    """
    optimizer = optimizers.build(model, recipe)
    facts = checkpoints.load_training(state, model, optimizer) if state else None
    step, tokens, rows = (facts["step"], facts["tokens"], facts["rows"]) if facts else (0, 0, [])
    model.train()
    pending: list[Row] = []
    losses: list[torch.Tensor] = []
    norms: list[torch.Tensor] = []
    saved = began = time.monotonic()
    tokens_before = tokens
    with tqdm(total=steps, initial=step, desc=label, position=line, unit="step", disable=None, mininterval=0.5, leave=False) as bar:
        while step < steps:
            rate = learning_rate(recipe, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = batches(step)
            tokens += batch.tokens
            loss = loss_of(model, batch.to(model.device), recipe.initial_state)
            optimizer.zero_grad()
            loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip))
            optimizer.step()
            losses.append(loss.detach())
            step += 1
            keep(step)
            bar.update()
            if step % recipe.log_every and step < steps:
                continue

            row: Row = {"step": step, "tokens": tokens, "train_loss": _mean(losses), "lr": rate, "grad_norm": _mean(norms)}
            if not math.isfinite(row["train_loss"]):
                raise UserError(f"training.lr: the loss of {label} became {row['train_loss']} by step {step}; lower lr or clip, or lengthen warmup")
            speed = (tokens - tokens_before) / (time.monotonic() - began)
            if step % recipe.validate_every == 0 or step == steps:
                row["validation_loss"] = validate(model, validation)
                if whole:
                    row["validation_exact"] = exact(model, validation)
            began, tokens_before = time.monotonic(), tokens
            losses, norms = [], []
            rows.append(row)
            pending.append({**row, "tokens_per_second": speed})
            bar.set_postfix_str(f"loss {row['train_loss']:.4f}, {speed / 1000:.1f}k tokens/s", refresh=False)
            if state and (time.monotonic() - saved >= recipe.save_seconds or step == steps):
                log(pending)
                pending = []
                checkpoints.save_training(state, model, optimizer, {"step": step, "tokens": tokens, "rows": rows})
                saved = time.monotonic()
    log(pending)
    model.eval()
    return rows


def _mean(values: list[torch.Tensor]) -> float:
    """Read back once a row and not once a step: on an accelerator every read waits for the queue."""
    return float(torch.stack(values).mean())
