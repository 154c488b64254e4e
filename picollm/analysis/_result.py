"""What an analysis takes and what it hands back: numbers beside what chance gives, claims, tables, arrays, figures, or why there are none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from picollm.analysis._options import Options
from picollm.core.tokens import TokenFolder
from picollm.models import Model
from picollm.training.checkpoints import read_config

Estimate = dict[str, float]
Row = dict[str, Any]

PLACE = re.compile(r"\{([^{}:]+):(\w+)\}")  # {metric:field} of a claim
FEWEST_FOR_P = 19  # nulls: with fewer, no p could reach 0.05


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked into. An analysis is a module with `analyse(subject) -> Result | Skip`."""

    model: Model  # in evaluation mode
    tokens: TokenFolder
    raw: Path  # the task's folder of raw data
    options: Options
    checkpoint: Path | None = None  # the folder that the model came from
    others: tuple[Path, ...] = ()  # the checkpoints of the run's other seeds

    @property
    def snapshots(self) -> list[tuple[int, Path]]:
        """(step, checkpoint folder) of those kept during training, the last one included; empty where none were."""
        kept = [*self.checkpoint.glob("step*"), *self.checkpoint.glob("epoch*")] if self.checkpoint else []
        return sorted((int(read_config(folder, "step")["step"]), folder) for folder in kept)

    @property
    def is_text(self) -> bool:
        return bool(self.tokens.header["kind"] == "text")

    @property
    def without_taps(self) -> str | None:
        """Why nothing inside the model can be read, None when it can."""
        has_taps = hasattr(self.model, "attention_weights")
        return None if has_taps else f"{self.model.config.kind} has no attention, and no taps inside its layers"

    @property
    def without_weights(self) -> str | None:
        """Why there are no attention weights to look at, None when there are."""
        convolution = getattr(self.model.config, "attention", None) == "convolution"
        return self.without_taps or ("a convolution has no attention matrix" if convolution else None)


@dataclass(frozen=True)
class Skip:
    """An analysis that does not apply; that is a result too."""

    reason: str


@dataclass(frozen=True)
class Claim:
    """A sentence whose every number is one of the result's own metrics: "Head {induction:head} of layer {induction:layer} scores {induction:value}."

    A number that no metric stands behind cannot be claimed: there is no other way to write a digit.
    """

    text: str

    def __post_init__(self) -> None:
        assert not re.search(r"\d", PLACE.sub("", self.text)), f"a number without a metric: {self.text}"

    def filled(self, metrics: Mapping[str, Estimate]) -> str:
        return PLACE.sub(lambda place: f"{metrics[place[1]][place[2]]:.4g}", self.text)


@dataclass(frozen=True, eq=False)
class Result:
    """Names are short: the runner puts the analysis's own name before those of files ("" gives just that)."""

    metrics: dict[str, Estimate]
    figures: dict[str, Figure] = field(default_factory=dict)  # -> PNG
    tables: dict[str, Sequence[Row]] = field(default_factory=dict)  # -> CSV
    arrays: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)  # -> npz
    claims: Sequence[Claim] = ()  # -> the text report


def estimate(value: float, n: int, nulls: Mapping[str, np.ndarray], /, **facts: float) -> Estimate:
    """{"value", "n"}, whatever `facts` there are, and for each null, such as "untrained", its mean under that name, "untrained_low"
    and "untrained_high" (the central 95 %, of fewer than 40 the whole range) and, where there are enough to reach 0.05,
    "untrained_p": how often this null, counting the value itself as one draw of it, gives the value or more."""
    result: Estimate = {"value": float(value), "n": n, **facts}
    for name, null in nulls.items():
        low, high = np.quantile(null, [0.025, 0.975], method="inverted_cdf")
        result |= {name: float(null.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
        if len(null) >= FEWEST_FOR_P:
            result[f"{name}_p"] = float((1 + (null >= value).sum()) / (1 + len(null)))
    return {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in result.items()}
