"""The parameters of a numeric task: which specification, how many sequences in each set, how long they are."""

from dataclasses import dataclass, field
from typing import Literal

from picollm.tasks._config import Lengths
from picollm.tasks.numeric.values import VOCAB


@dataclass(frozen=True, kw_only=True)
class Config(Lengths):
    """One entry under `tasks:`. `holdout` is without effect on classic, which has no cells to spare."""

    kind: Literal["numeric"]
    spec: Literal["classic", "modular"]
    heldout: int = 0  # sequences of each family that has held-out cells: modular only
    long_lengths: list[int] = field(default_factory=lambda: [32, 48, 64, 128, 256, 512])
    train_lengths: list[int] = field(default_factory=lambda: [8, 32])
    holdout: float = 0.15  # share of modular's (start, step), (start, ratio), (a, b) cells

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout: {self.holdout} is no share of the cells; give 0 <= holdout < 1")
        if self.heldout < 0:
            raise ValueError(f"heldout: {self.heldout} sequences; give 0 or more")
        if self.heldout and self.spec == "classic":
            raise ValueError(f"heldout: {self.heldout} sequences, but classic has too few cells to hold any out; set it to 0 or take spec modular")
        if self.heldout and self.holdout < 0.001:
            raise ValueError(f"heldout: {self.heldout} sequences, but a holdout of {self.holdout} leaves no cells for them; raise holdout or set heldout to 0")

    @property
    def vocab_size(self) -> int:
        return VOCAB
