"""One seed of a run, from nothing to a checkpoint, in a folder that survives a kill."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from picollm import models
from picollm.core.files import read_json, write_json
from picollm.core.tokens import TokenFolder
from picollm.training import batches, checkpoints
from picollm.training.embeddings import start_from
from picollm.training.loop import Log, train
from picollm.training.recipe import Run


def train_seed(
    run: Run, name: str, tokens: TokenFolder, seed: int, fingerprint: str, device: torch.device, folder: Path, log: Log, line: int = 0
) -> dict[str, Any]:
    """Train, or go on training, in `folder`; a seed that had finished before the kill is only read. `line`: of the terminal, for the bar.

    `folder` then holds `checkpoint/` and `result.json`, which is returned: rows, parameters, steps, tokens. Of a recipe that counts epochs
    `checkpoint/epochNN` holds one more for each; of one with snapshots `checkpoint/stepNNNNNN` one for each, of seed 0 alone.
    """
    if (folder / "result.json").exists():
        return dict(read_json(folder / "result.json"))
    checkpoints.seed_everything(seed)
    model = models.build(run.model, tokens.vocab_size, f"runs.{name}.model")
    if run.training.init_embedding_from is not None:
        start_from(model, run.training.init_embedding_from, tokens.header["tokenizer"], f"runs.{name}.training.init_embedding_from")
    model = model.to(device)
    feed, steps = batches.training(tokens, run.training, seed)
    facts = {
        "run": name,
        "task": run.task,
        "kind": tokens.header["kind"],
        "seed": seed,
        "model": run.model,
        "training": asdict(run.training),
        "context": run.training.context,
        "tokenizer": tokens.header["tokenizer"],
        "targets": bool(tokens.header.get("targets")),  # of the task's own: the model says something about its tokens, and does not go on with them
        "whole": tokens.header["splits"]["train"].get("whole", False),  # of documents, each between end tokens
        "fingerprint": fingerprint,
    }

    def save(part: str, step: int) -> None:
        checkpoints.save_model(folder / "checkpoint" / part, model, {**facts, "step": step})

    moments = snapshots(steps, run.training.snapshots) if seed == 0 else []
    per_epoch = steps // run.training.epochs if run.training.epochs else steps + 1

    def keep(step: int) -> None:
        if step and step % per_epoch == 0:
            save(f"epoch{step // per_epoch:02d}", step)
        if step in moments:
            save(f"step{step:06d}", step)

    if moments and not (folder / "state").exists():
        keep(0)

    held = batches.validation(tokens, run.training)
    rows = train(
        model, feed, steps, held, run.training, state=folder / "state", log=log, keep=keep, whole=facts["targets"], label=f"{name} seed {seed}", line=line
    )
    save("", steps)
    result = {"rows": rows, "parameters": model.n_parameters, "steps": steps, "tokens": rows[-1]["tokens"]}
    if tokens.weights:
        result["sources"] = batches.realised(tokens.weights, run.training.batch_size, seed, steps)
    write_json(folder / "result.json", result)
    return result


def snapshots(steps: int, count: int) -> list[int]:
    """The steps after which a snapshot is kept: 0 and `count` more up to the last, their distances growing evenly, because most happens early."""
    return sorted({round(steps * (index / count) ** 2) for index in range(count + 1)}) if count else []
