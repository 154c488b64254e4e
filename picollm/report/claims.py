"""claims.yaml: what others claimed, and which results of this study can tell. A new claim is one entry there: docs/claims.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from picollm.core.config import PARAMS, STRICT, not_negative, parse, read
from picollm.core.errors import UserError, did_you_mean
from picollm.report import seeds

CLAIMS = Path(__file__).with_name("claims.yaml")
ANALYSES = Path(__file__).parents[1] / "analysis"  # whose files are their names; importing one would bring torch

Expected = Literal["lower", "higher", "alike", "at_least", "at_most"]


@dataclass(frozen=True)
class Comparison:
    """left against right: runs, or cells of sweeps (SWEEP/VARIANT key=value ...), or on the right a number; of an analysis, the name of a null that
    stands beside its figure, such as untrained.

    `margin`: the smallest effect that counts as lower or higher; how far apart, at most, what is alike may be; what at_least and at_most forgive.
    `seeds_at_least`, `seeds_at_most`: compares no means but the share of seeds whose metric reaches this number. `exists`: the metric is exact,
    and one seed that reaches it proves the claim.
    """

    __pydantic_config__ = STRICT

    metric: str
    left: str
    expect: Expected
    right: float | str
    right_metric: str | None = None  # where it is another one
    margin: float = 0.0
    seeds_at_least: float | None = None
    seeds_at_most: float | None = None
    exists: bool = False
    when: str = ""  # the condition that this test stands for, where a claim has several

    def __post_init__(self) -> None:
        not_negative(self, "margin")
        if self.expect == "alike" and not self.margin:
            raise ValueError("margin: is missing; alike means closer than some margin")
        if self.seeds_at_least is not None and self.seeds_at_most is not None:
            raise ValueError("seeds_at_most: give either seeds_at_least or seeds_at_most, and not both")
        if self.rated and (self.margin or self.expect == "alike"):
            raise ValueError("margin: a share of seeds is compared as lower, higher, at_least or at_most, without a margin")
        if self.exists and not self.rated:
            raise ValueError("exists: needs what a seed must reach; add seeds_at_least or seeds_at_most")
        if self.analysis and self.rated:
            raise ValueError("metric: an analysis looks into one model of a run, of which there is no share of seeds")

    @property
    def rated(self) -> bool:
        return self.seeds_at_least is not None or self.seeds_at_most is not None

    @property
    def analysis(self) -> str | None:
        """The analysis that the metric belongs to: of one model, beside untrained ones, where others are of every seed."""
        head, dot, _ = self.metric.partition(".")
        return head if dot and "@" not in head else None

    def reached(self, value: float) -> bool:
        return value >= self.seeds_at_least if self.seeds_at_least is not None else value <= (self.seeds_at_most or 0.0)

    @property
    def sides(self) -> list[tuple[str, str, str]]:
        """(field, side, metric) of what stands in params.yaml."""
        right = [("right", self.right, self.right_metric or self.metric)] if isinstance(self.right, str) and not self.analysis else []
        return [("left", self.left, self.metric), *right]


@dataclass(frozen=True)
class Claim:
    """A claim with the tests that it must all pass; without any, with the reason."""

    __pydantic_config__ = STRICT

    source: str  # the original, or the paper
    idea: str  # what it says, in our words
    claim: str  # the sentence that is judged
    tests: list[Comparison] = field(default_factory=list)
    untested: str = ""  # why no run tests it, or what of it none does
    command: str = ""  # that would, where it is no run of params.yaml
    note: str = ""  # contradictions and confounded changes of the original; the scope of the tests

    def __post_init__(self) -> None:
        if not self.tests and not self.untested:
            raise ValueError("tests: is empty; add a test, or say in untested why there is none")
        names = [test.when for test in self.tests]
        if len(names) > 1 and (not all(names) or len(set(names)) < len(names)):
            raise ValueError("tests: every one of several needs a `when` of its own")


def load(path: Path = CLAIMS) -> dict[str, Claim]:
    """Raises UserError for the first mistake, with its dotted path."""
    try:
        return {str(name): parse(Claim, block, f"claims.{name}") for name, block in read(path).items()}
    except UserError as error:
        raise UserError(str(error).replace(f"add it to {PARAMS}", f"add it to {path.name}")) from error


def check(claims: Mapping[str, Claim], params: Mapping[str, Any]) -> None:
    """Every run, cell and metric that a test names against params.yaml. Raises UserError for the first that there is not.

    A study of which the ledger names nothing is another study, and its report has no ledger.
    """
    if not known(claims, params):
        return
    settings = (params.get("samples") or {}).get("settings", {})
    for name, claim in claims.items():
        for number, test in enumerate(claim.tests):
            for where, side, metric in test.sides:
                path = f"claims.{name}.tests.{number}"
                try:
                    _check_side(side, params)
                except UserError as error:
                    raise UserError(f"{path}.{where}: {error}") from error
                try:
                    _check_metric(test, side, metric, settings)
                except UserError as error:
                    raise UserError(f"{path}.{'right_' if where == 'right' and test.right_metric else ''}metric: {error}") from error


def known(claims: Mapping[str, Claim], params: Mapping[str, Any]) -> bool:
    """Do any of the claims name anything of this study?"""
    names = {*(params.get("runs") or {}), *(params.get("sweeps") or {})}
    return any(side.partition("/")[0] in names for claim in claims.values() for test in claim.tests for _, side, _ in test.sides)


def short(grid: Mapping[str, Any]) -> dict[str, str]:
    """{dotted: name in a cell's label} of a grid's parameters."""
    names = {dotted: dotted.rpartition(".")[2] for dotted in grid}
    return names if len(set(names.values())) == len(names) else {dotted: dotted for dotted in grid}


def _check_side(side: str, params: Mapping[str, Any]) -> None:
    runs, sweeps = params.get("runs") or {}, params.get("sweeps") or {}
    name, slash, cell = side.partition("/")
    if not slash:
        if name not in runs:
            raise UserError(f"no run {name!r} in {PARAMS} {did_you_mean(name, runs)}")
        return
    if name not in sweeps:
        raise UserError(f"no sweep {name!r} in {PARAMS} {did_you_mean(name, sweeps)}")
    base, _, group = str(sweeps[name].get("base")).partition(".")
    variants = (params.get("variants") or {}).get(group, {}) if base == "variants" else {}
    names = [*variants, *(f"{key}=" for key in short(sweeps[name].get("grid") or {}).values())]
    for token in cell.split():
        key, equals, _ = token.partition("=")
        if key + equals not in names:
            raise UserError(f"sweeps.{name} has no {key + equals!r} {did_you_mean(key + equals, names)}")


def _check_metric(test: Comparison, side: str, metric: str, settings: Mapping[str, Any]) -> None:
    if not test.analysis:
        if "/" in side and "@" in metric:
            raise UserError(f"{metric}: a sweep keeps no curves and samples; name a run")
        seeds.check(metric, settings)
        return
    names = [path.stem for path in ANALYSES.glob("[!_]*.py")]
    if test.analysis not in names:
        raise UserError(f"no analysis {test.analysis!r} {did_you_mean(test.analysis, names)}")
    if "/" in side:
        raise UserError(f"{metric}: an analysis looks into a run, not into the cells of a sweep; name a run")
