"""The ledger as tables, a sentence for the answer, and as numbers."""

from collections.abc import Sequence
from typing import Any

from picollm.report._tests import Difference
from picollm.report.ledger import ONLY, Judged, Outcome, counts
from picollm.report.sides import Side
from picollm.report.tables import Row, Table
from picollm.report.writing import NONE, number

SIGNS = {"lower": "<", "higher": ">", "alike": "≈", "at_least": "≥", "at_most": "≤"}
HEAD = ("claim, and its tests", "verdict", "left", "right", "left - right, 95 %", "n", "g", "p, Holm", "alone")
CAPTION = (
    "Left and right are means over seeds. The interval is of their difference, paired where the same seeds saw the same data. g is Hedges' g, in standard "
    "deviations over seeds. A verdict is at the level that Holm's procedure leaves after all tests of the table; alone, what the interval by itself says."
)


def tables(judged: Sequence[Judged]) -> list[Table]:
    """What was tested, with its numbers; and what was not, with the command that would."""
    tested = [one for one in judged if one.tested]
    rows = [row for one in tested for row in _rows(one)]
    missing = [_missing(one) for one in judged if not one.tested]
    found = [Table(CAPTION, HEAD, rows)] if rows else []
    head = ("claim", "source", "why there is no verdict", "what would test it")
    return [*found, *([Table("Not testable at this budget.", head, missing)] if missing else [])]


def sentence(judged: Sequence[Judged]) -> str:
    """`Of 46 claims, 2 hold, ...`; empty without a claim that was tested."""
    count = counts(judged)
    said = {"holds": "hold", ONLY: "hold under some conditions only", "does not hold": "do not hold", "undecided": "are undecided"}
    parts = [f"{count[name]} {verb}" for name, verb in said.items() if count[name]]
    if not parts:
        return ""
    tests = sum(bool(outcome.difference) for one in judged for outcome in one.outcomes)
    rest = count["not testable at this budget"]
    return f"Of {len(judged)} claims, {', '.join(parts)}, and {rest} cannot be tested at this budget; corrected for {tests} tests."


def headlines(judged: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """{NAME: {verdict, difference, low, high, n}}; of several tests, these of each that was tested."""
    result: dict[str, dict[str, Any]] = {}
    for one in judged:
        several = {outcome.test.when: _numbers(outcome) for outcome in one.tested}
        own = several if len(one.outcomes) > 1 else next(iter(several.values()), {})
        result[one.name] = {**own, "verdict": one.verdict}
    return result


def _numbers(outcome: Outcome) -> dict[str, Any]:
    found = outcome.difference
    if outcome.proved:
        return {"verdict": outcome.verdict, "seeds": outcome.proved[0], "n": outcome.proved[1]}
    assert found
    ends = {} if found.low is None or found.high is None else {"low": found.low, "high": found.high}
    return {"verdict": outcome.verdict, "difference": found.value, **ends, "n": found.n}


def _rows(one: Judged) -> list[Row]:
    label = f"{one.claim.claim} [{one.claim.source}]{f' {one.remark[0].upper()}{one.remark[1:]}.' if one.remark else ''}"
    return [Row(label, [one.verdict, *[""] * (len(HEAD) - 3), one.alone], kind="claim"), *(_row(outcome) for outcome in one.outcomes)]


def _row(outcome: Outcome) -> Row:
    label = f"{f'{outcome.test.when}: ' if outcome.test.when else ''}{_asked(outcome)}"
    if outcome.missing:
        return Row(label, kind="cell", note=outcome.missing.reason)
    if outcome.proved:
        k, n = outcome.proved
        return Row(label, [outcome.verdict, f"{k} of {n}", NONE, "one is enough", str(n), *[NONE] * 3], kind="cell")
    found = outcome.difference
    assert found
    assert outcome.left
    right = _mean(outcome, outcome.right) if outcome.right else number(outcome.number or 0)
    effect = NONE if found.effect is None else number(found.effect, 2)
    shown = [_mean(outcome, outcome.left), right, f"{number(found.value)} {_interval(found)}", str(found.n), effect]
    return Row(label, [outcome.verdict, *shown, _p(outcome.adjusted), outcome.alone], kind="cell")


def _asked(outcome: Outcome) -> str:
    """`excess: classic_linear ≈ classic_softmax (to 0.002)`: what the claim says."""
    test = outcome.test
    right = number(test.right) if isinstance(test.right, float) else test.right
    if test.right_metric:
        right = test.right_metric if right == test.left else f"{right}, {test.right_metric}"
    margin = f" (to {test.margin:g})" if test.margin else ""
    if test.rated:
        least = test.seeds_at_least
        reached = f"{test.metric} {'≤' if least is None else '≥'} {test.seeds_at_most if least is None else least:g}"
        return f"a seed of {test.left} with {reached}" if test.exists else f"share of seeds with {reached}: {test.left} {SIGNS[test.expect]} {right}"
    return f"{test.metric}: {test.left} {SIGNS[test.expect]} {right}{margin}"


def _mean(outcome: Outcome, side: Side) -> str:
    values = list(side.values.values())
    if outcome.test.rated:
        return f"{sum(map(outcome.test.reached, values))} of {len(values)}"
    return number(sum(values) / len(values))


def _interval(found: Difference) -> str:
    return "(seeds agree)" if found.low is None or found.high is None else f"[{number(found.low, 3)}, {number(found.high, 3)}]"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def _missing(one: Judged) -> Row:
    reasons = list(dict.fromkeys([*(outcome.missing.reason for outcome in one.outcomes if outcome.missing), one.claim.untested]))
    commands = list(dict.fromkeys([*(outcome.missing.command for outcome in one.outcomes if outcome.missing), one.claim.command]))
    cells = [one.claim.source, *("; ".join(text for text in texts if text) or NONE for texts in (reasons, commands))]
    return Row(one.claim.claim, cells, kind="text")
