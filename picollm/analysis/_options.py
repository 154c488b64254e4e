"""The `interpret:` block of params.yaml."""

from dataclasses import dataclass, field

from picollm.core import registry
from picollm.core.config import STRICT
from picollm.core.errors import did_you_mean
from picollm.tasks.numeric.spec import FAMILIES


@dataclass(frozen=True)
class Options:
    __pydantic_config__ = STRICT

    sequence_types: list[str] = field(default_factory=lambda: ["arithmetic", "alternating"])  # numeric: whose attention is drawn
    length: int = 12  # terms of each sequence; tokens of each window of text
    prompt: str = "Once upon a time"  # text: what attention is drawn on
    analyses: list[str] | None = None  # None: all there are
    untrained: int = 19  # models with fresh weights that every number is held against; with fewer no p could reach 0.05

    def __post_init__(self) -> None:
        if not self.sequence_types:
            raise ValueError("sequence_types: is empty; name at least one family, such as arithmetic")
        for name in self.sequence_types:
            if name not in FAMILIES:
                raise ValueError(f"sequence_types: unknown {name!r} {did_you_mean(name, FAMILIES)}")
        if self.length < 3:
            raise ValueError(f"length: must be at least 3, not {self.length}: with two terms the first and the previous one are the same")
        if not self.prompt.strip():
            raise ValueError("prompt: is empty; write the beginning of a text")
        if self.untrained < 1:
            raise ValueError(f"untrained: must be at least 1, not {self.untrained}; a number without its null says nothing")
        known = registry.names("analysis")
        for name in self.analyses or []:
            if name not in known:
                raise ValueError(f"analyses: unknown {name!r} {did_you_mean(name, known)}")
