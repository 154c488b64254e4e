"""The ledger: every claim against the results, with a verdict that is computed. docs/claims.md says how.

A test holds when the 95 % interval of its difference lies where the claim puts it, does not hold when it lies wholly elsewhere, and is undecided in
between; both at a level that Holm's procedure leaves after all tests of the ledger, so that with 95 % probability no verdict of them all is false.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from picollm.core.errors import did_you_mean
from picollm.report._tests import LEVEL, ONE_MODEL, Difference, apart, by_seed, from_number, holm, of_estimate, of_null, share, shares
from picollm.report.claims import Claim, Comparison, Expected
from picollm.report.sides import Missing, Side, Sides

HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "undecided", "not testable at this budget"
ONLY = "holds only under"


@dataclass(frozen=True)
class Outcome:
    """A test of a claim with what was measured; without a difference, with the reason."""

    test: Comparison
    left: Side | None = None
    right: Side | None = None  # None: a number, or untrained models
    number: float | None = None
    difference: Difference | None = None
    proved: tuple[int, int] | None = None  # of a claim that something exists: seeds that have it, of how many
    missing: Missing | None = None
    p: float = 1.0  # two-sided, so that it decides as a 95 % interval does
    adjusted: float = 1.0  # by Holm, over the ledger
    supports: bool = False  # the claim, rather than its contrary

    @property
    def alone(self) -> str:
        """The verdict of its own interval."""
        return self._verdict(self.p)

    @property
    def verdict(self) -> str:
        return self._verdict(self.adjusted)

    def _verdict(self, p: float) -> str:
        if self.missing:
            return UNTESTED
        if self.proved:
            return HOLDS if self.proved[0] else OPEN
        if p > 1 - LEVEL:
            return OPEN
        return HOLDS if self.supports else FAILS


@dataclass(frozen=True)
class Judged:
    name: str
    claim: Claim
    outcomes: list[Outcome]

    @property
    def tested(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.missing]

    @property
    def holding(self) -> list[Outcome]:
        return [outcome for outcome in self.tested if outcome.verdict == HOLDS]

    @property
    def verdict(self) -> str:
        """Of a claim that says that all its tests hold."""
        return self._of([outcome.verdict for outcome in self.tested])

    @property
    def alone(self) -> str:
        """What it would be without the correction for the ledger's other tests."""
        return self._of([outcome.alone for outcome in self.tested])

    def _of(self, verdicts: Sequence[str]) -> str:
        count = Counter(verdicts)
        if not count:
            return UNTESTED
        if count[HOLDS] and count[FAILS]:
            return f"{ONLY} {', '.join(one.test.when for one, verdict in zip(self.tested, verdicts, strict=True) if verdict == HOLDS)}"
        if count[FAILS]:
            return FAILS
        return OPEN if count[OPEN] else HOLDS

    @property
    def remark(self) -> str:
        """What a verdict over several tests does not say."""
        parts = []
        if self.verdict == OPEN and self.holding:
            parts.append(f"shown under {', '.join(outcome.test.when for outcome in self.holding)}")
        if self.verdict == FAILS and len(self.tested) > 1:
            parts.append(f"refuted under {', '.join(outcome.test.when for outcome in self.tested if outcome.verdict == FAILS)}")
        if self.tested and all(outcome.difference and outcome.difference.how in ONE_MODEL for outcome in self.tested):
            parts.append("of one model")
        if self.tested and len(self.tested) < len(self.outcomes):
            parts.append(f"{len(self.tested)} of {len(self.outcomes)} conditions tested")
        return "; ".join(parts)


def judge(claims: Mapping[str, Claim], sides: Sides) -> list[Judged]:
    """Every claim of the ledger, in its order."""
    measured = [(name, claim, [_measure(test, sides, claim) for test in claim.tests]) for name, claim in claims.items()]
    family = [outcome for _, _, outcomes in measured for outcome in outcomes if outcome.difference]
    adjusted = iter(holm([outcome.p for outcome in family]))
    return [
        Judged(name, claim, [replace(outcome, adjusted=next(adjusted)) if outcome.difference else outcome for outcome in outcomes])
        for name, claim, outcomes in measured
    ]


def halves(difference: Difference, expect: Expected, margin: float) -> tuple[float, float]:
    """One-sided p of the claim's contrary, which is small when the claim holds, and of the claim, which is small when it does not."""
    above, below = difference.above, difference.below
    if expect == "higher":
        return above(margin), below(margin)
    if expect == "lower":
        return below(-margin), above(-margin)
    if expect == "at_least":
        return above(-margin), below(-margin)
    if expect == "at_most":
        return below(margin), above(margin)
    return max(above(-margin), below(margin)), min(above(margin), below(-margin))


def compared(test: Comparison, left: Side, right: Side | None, number: float) -> Difference | None:
    """By the test that their data allow; None where there are too few seeds."""
    values = list(left.values.values())
    if test.rated:
        ours, theirs = ((sum(map(test.reached, side.values.values())), len(side.values)) if side else None for side in (left, right))
        assert ours
        return shares(ours, theirs) if theirs else share(ours, number)
    if right is None:
        return from_number(values, number)
    if left.stream == right.stream:
        return by_seed(left.values, right.values)
    return apart(values, list(right.values.values()))


def _measure(test: Comparison, sides: Sides, claim: Claim) -> Outcome:
    found: list[Side] = []
    for _, name, metric in test.sides:
        if test.analysis:
            return _of_analysis(test, sides)
        side = sides.find(name, metric)
        if isinstance(side, Missing):
            return Outcome(test, missing=replace(side, command=side.command or claim.command))
        found.append(side)
    left, right = found[0], found[1] if len(found) > 1 else None
    number = test.right if isinstance(test.right, float) else None
    if test.exists:
        return Outcome(test, left, number=number, proved=(sum(map(test.reached, left.values.values())), len(left.values)))
    difference = compared(test, left, right, number or 0.0)
    if difference is None:
        return Outcome(test, missing=sides.too_few(test.left if len(left.values) < 2 or right is None else str(test.right)))
    return _decided(Outcome(test, left, right, number, difference))


def _of_analysis(test: Comparison, sides: Sides) -> Outcome:
    """Of one model: by the interval of what it was measured on against a number, or the nearest draw of a null; without one, by the null's draws."""
    found = sides.analysis(test.left, test.metric)
    if isinstance(found, Missing):
        return Outcome(test, missing=found)
    value, n, number = found["value"], int(found["n"]), None
    if isinstance(test.right, float):
        number = test.right
    elif (edge := f"{test.right}_{'high' if test.expect in ('higher', 'at_least') else 'low'}") in found:
        number = found[edge]
    else:
        nulls = [name.removesuffix("_high") for name in found if name.endswith("_high")]
        return Outcome(test, missing=Missing(f"{test.metric} of {test.left} has no null {test.right!r} {did_you_mean(test.right, nulls)}"))
    side = Side(f"{test.left}, seed 0", {"0": value}, ())
    if "low" in found:
        return _decided(Outcome(test, side, number=number, difference=of_estimate(value, found["low"], found["high"], n, number)))
    if f"{test.right}_p" in found and test.expect == "higher" and not test.margin:
        low, high = (found[f"{test.right}_{end}"] for end in ("low", "high"))
        difference = of_null(value, n, found[str(test.right)], low, high, found[f"{test.right}_p"])
        return _decided(Outcome(test, side, number=found[str(test.right)], difference=difference))
    return Outcome(test, missing=Missing(f"{test.analysis} of {test.left}: no interval, and too few models beside it for a p"))


def _decided(outcome: Outcome) -> Outcome:
    assert outcome.difference
    holds, fails = halves(outcome.difference, outcome.test.expect, outcome.test.margin)
    return replace(outcome, p=min(1.0, 2 * min(holds, fails)), supports=holds < fails)


def counts(judged: Sequence[Judged]) -> dict[str, int]:
    """How many claims have which verdict."""
    names = [HOLDS, ONLY, FAILS, OPEN, UNTESTED]
    found = Counter(ONLY if one.verdict.startswith(ONLY) else one.verdict for one in judged)
    return {name: found[name] for name in names}
