"""The parameters of a parity task: how many bit sequences in each set, how long they are."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from picollm.tasks._config import Lengths

BITS = 2


@dataclass(frozen=True, kw_only=True)
class Config(Lengths):
    """One entry under `tasks:`. A sequence of T bits has T targets."""

    own_targets: ClassVar[bool] = True

    kind: Literal["parity"]
    train_lengths: list[int] = field(default_factory=lambda: [2, 40])
    long_lengths: list[int] = field(default_factory=lambda: [40, 64, 128, 256])

    @property
    def vocab_size(self) -> int:
        return BITS + 1
