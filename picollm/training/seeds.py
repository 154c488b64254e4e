"""One seed of a run, from nothing to a checkpoint, in a folder that survives a kill."""

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

    `folder` then holds `checkpoint/` (with one more in `checkpoint/epochNN` for every epoch of a recipe that counts
    epochs) and `result.json`, which is returned: rows, parameters, steps, tokens.
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
        "context": run.training.context,
        "tokenizer": tokens.header["tokenizer"],
        "targets": bool(tokens.header.get("targets")),  # of the task's own: the model says something about its tokens, and does not go on with them
        "whole": tokens.header["splits"]["train"].get("whole", False),  # of documents, each between end tokens
        "fingerprint": fingerprint,
    }

    def keep(step: int) -> None:
        per_epoch = steps // run.training.epochs if run.training.epochs else steps + 1
        if step % per_epoch == 0:
            checkpoints.save_model(folder / "checkpoint" / f"epoch{step // per_epoch:02d}", model, {**facts, "step": step})

    held = batches.validation(tokens, run.training)
    rows = train(
        model, feed, steps, held, run.training, state=folder / "state", log=log, keep=keep, whole=facts["targets"], label=f"{name} seed {seed}", line=line
    )
    checkpoints.save_model(folder / "checkpoint", model, {**facts, "step": steps})
    result = {"rows": rows, "parameters": model.n_parameters, "steps": steps, "tokens": rows[-1]["tokens"]}
    if tokens.weights:
        result["sources"] = batches.realised(tokens.weights, run.training.batch_size, seed, steps)
    write_json(folder / "result.json", result)
    return result
