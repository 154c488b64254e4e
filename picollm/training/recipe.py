"""A run of params.yaml, and how it is trained: its `training:` block."""

from dataclasses import dataclass, field
from typing import Any, Literal

from picollm.core.config import STRICT, above_zero, at_least_one, not_negative


@dataclass(frozen=True)
class Recipe:
    """Exactly one of `steps` and `epochs` is given; epochs need `data: fixed`, and keep a checkpoint each."""

    __pydantic_config__ = STRICT

    steps: int | None = None
    epochs: int | None = None
    max_steps_per_epoch: int | None = None  # an epoch ends there, and the next begins in a new order
    data: Literal["stream", "fixed"] = "stream"  # fresh sequences (of a text: windows at random) for ever, or the stored ones (all windows, each once)
    examples: int | None = None  # of the stored ones: so many sequences, or documents of each source of a text
    batch_size: int = 64  # sequences
    initial_state: Literal["zeros", "passed", "random"] = "zeros"  # of recurrent models, see picollm/training/initial_states.py
    init_embedding_from: str | None = None  # CHECKPOINT@DIGEST, see picollm/training/embeddings.py
    context: int = 128  # tokens of a text window; other sequences have lengths of their own
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: int = 50  # steps
    final_lr: float = 0.0  # of the schedule's end, as a share of lr
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    weight_decay: float = 0.1  # of matrices only
    clip: float = 1.0  # largest gradient norm
    log_every: int = 10  # steps a point of the curves averages over
    validate_every: int = 100  # steps, a multiple of log_every
    snapshots: int = 0  # checkpoints kept on the way of the first seed, close to one another at first: when does what emerge?
    save_seconds: float = 15.0  # between two savings of the state that an interrupted training resumes from

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("steps: give either steps or epochs, and not both")
        if self.epochs is not None and self.data != "fixed":
            raise ValueError("epochs: a stream never ends; set data: fixed, or give steps")
        if self.max_steps_per_epoch is not None and self.epochs is None:
            raise ValueError("max_steps_per_epoch: steps are counted in epochs only where epochs are given; give them, or remove it")
        if self.examples is not None and self.data != "fixed":
            raise ValueError("examples: a stream has no number of them; set data: fixed, or remove it")
        if self.initial_state != "zeros" and self.data == "fixed":
            raise ValueError(f"initial_state: {self.initial_state} would start from states after padding; set data: stream")
        at_least_one(self, "steps", "epochs", "max_steps_per_epoch", "examples", "batch_size", "context", "log_every", "validate_every")
        if self.validate_every % self.log_every:
            raise ValueError(f"validate_every: {self.validate_every} is no multiple of log_every {self.log_every}")
        above_zero(self, "lr", "clip")
        not_negative(self, "warmup", "final_lr", "weight_decay", "snapshots", "save_seconds")
        if self.snapshots and self.steps is None:
            raise ValueError("snapshots: a recipe that counts epochs keeps a checkpoint of each; remove it")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: two numbers in [0, 1), not {self.betas}")


@dataclass(frozen=True)
class Run:
    """A model trained on a task with a recipe, `seeds` times. 0 seeds: not part of this budget."""

    __pydantic_config__ = STRICT

    task: str
    seeds: int
    training: Recipe
    model: dict[str, Any]  # checked against the model's own Config

    def __post_init__(self) -> None:
        not_negative(self, "seeds")
