"""The learning rate at a step: linear warm-up, then cosine, linear or no decay."""

import math

from picollm.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """At `step` of 0 .. steps - 1. The warm-up never takes more than a tenth of a short training."""
    warmup = min(recipe.warmup, steps // 10)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    shape = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[recipe.schedule]
    return recipe.lr * (recipe.final_lr + (1 - recipe.final_lr) * shape)
