"""Synthetic studies with an effect, with none, and with holes: the verdicts are those, and many ledgers together err as rarely as one is meant to."""

import copy
import shlex
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from picollm.core.config import BUDGETS, read
from picollm.core.errors import UserError
from picollm.core.files import read_json
from picollm.core.statistics import summary
from picollm.report import claims, ledger, seeds, verdicts
from picollm.report.claims import Claim, Comparison
from picollm.report.collect import Run, Sweep, Task
from picollm.report.compare import compare
from picollm.report.figures import Style
from picollm.report.sides import Sides
from picollm.study import Study

ROOT = Path(__file__).parents[2]
RECIPE = {"steps": 10, "batch_size": 4}
SEEDS = 5


def run(name, task="numbers", training=None, interpret=None, curve=(), sampling=(), missing="", **values):
    """A run with what its seeds measured."""
    count = max(map(len, values.values()), default=0)
    by_seed = {str(seed): {"test": {key: own[seed] for key, own in values.items()}} for seed in range(count)}
    means = {key: summary(own) for key, own in values.items()}
    evaluation = {"summary": means, "seeds": by_seed} if values else {}
    config = {"task": task, "seeds": count, "training": training or RECIPE}
    return Run(name, config, Style(""), missing, {}, evaluation, interpret or {}, curve=curve, sampling=sampling)


def cell(label, point=None, **values):
    count = max(map(len, values.values()))
    return {
        "label": label,
        "variant": label.split()[0],
        "point": point or {},
        "seeds": {str(seed): {key: own[seed] for key, own in values.items()} for seed in range(count)},
        "summary": {key: summary(own) for key, own in values.items()},
    }


def sides(*runs, sweeps=(), raw=None, budget="study"):
    return Sides({"budget": budget}, raw or {}, [Task("numbers", {}, {}, {}, list(runs))], sweeps)


def judged(found, *tests):
    return ledger.judge({"it": Claim("000", "", "It is so.", list(tests))}, found)[0]


def test_an_effect_is_found_and_its_contrary_is_not():
    found = sides(run("a", excess=[0.10, 0.11, 0.12, 0.10, 0.11]), run("b", excess=[0.50, 0.52, 0.51, 0.50, 0.53]))
    assert judged(found, Comparison("excess", "a", "lower", "b")).verdict == "holds"
    assert judged(found, Comparison("excess", "a", "higher", "b")).verdict == "does not hold"
    assert judged(found, Comparison("excess", "b", "higher", "a", margin=0.3)).verdict == "holds"
    assert judged(found, Comparison("excess", "b", "higher", "a", margin=0.5)).verdict == "does not hold"  # there is one, and it is smaller
    assert judged(found, Comparison("excess", "a", "alike", "b", margin=0.5)).verdict == "holds"
    assert judged(found, Comparison("excess", "a", "alike", "b", margin=0.1)).verdict == "does not hold"
    assert judged(found, Comparison("excess", "a", "at_most", 0.2)).verdict == "holds"
    assert judged(found, Comparison("excess", "a", "at_least", "b", margin=0.5)).verdict == "holds"


def test_noise_is_undecided():
    found = sides(run("a", excess=[0.1, 0.9, 0.4]), run("b", excess=[0.7, 0.2, 0.5]))
    for expect in ("lower", "higher", "at_least", "at_most"):
        assert judged(found, Comparison("excess", "a", expect, "b")).verdict == "undecided"
    assert judged(found, Comparison("excess", "a", "alike", "b", margin=0.1)).verdict == "undecided"


def test_the_same_seeds_are_paired_where_they_saw_the_same_data():
    luck = np.array([0.0, 1.0, 2.0, 3.0])
    first, second = list(luck), list(luck + np.array([0.10, 0.11, 0.10, 0.11]))
    paired = judged(sides(run("a", excess=first), run("b", excess=second)), Comparison("excess", "a", "lower", "b"))
    assert (paired.verdict, paired.outcomes[0].difference.how) == ("holds", "paired")
    for other in ({"training": {**RECIPE, "batch_size": 8}}, {"task": "others"}):
        apart = judged(sides(run("a", excess=first), run("b", excess=second, **other)), Comparison("excess", "a", "lower", "b"))
        assert (apart.verdict, apart.outcomes[0].difference.how) == ("undecided", "Welch")
    longer = run("b", excess=second, training={**RECIPE, "steps": 20, "lr": 0.1})
    assert judged(sides(run("a", excess=first), longer), Comparison("excess", "a", "lower", "b")).outcomes[0].difference.how == "paired"


def test_cells_of_a_sweep_and_their_data():
    good, bad = [0.99, 0.98, 0.99, 0.97], [0.50, 0.52, 0.51, 0.49]
    cells = [
        cell("x base=2", {"task.base": 2}, accuracy=good),
        cell("x base=16", {"task.base": 16}, accuracy=bad),
        cell("y base=2", {"task.base": 2}, accuracy=bad),
    ]
    found = sides(sweeps=[Sweep("grid", {"task": "numbers", "training": RECIPE}, {"cells": cells})])
    assert judged(found, Comparison("accuracy", "grid/x base=2", "higher", "grid/y base=2")).outcomes[0].difference.how == "paired"
    assert judged(found, Comparison("accuracy", "grid/x base=2", "higher", "grid/x base=16")).outcomes[0].difference.how == "Welch"
    assert judged(found, Comparison("accuracy", "grid/x base=2", "higher", "grid/y")).verdict == "holds"
    assert "2 cells match" in judged(found, Comparison("accuracy", "grid/x", "higher", "grid/y")).outcomes[0].missing.reason


def test_several_conditions_make_one_verdict():
    low, high, noise = [0.1, 0.11, 0.1, 0.12, 0.11], [0.9, 0.91, 0.92, 0.9, 0.9], [0.2, 0.9, 0.1, 0.4, 0.8]
    found = sides(run("low", excess=low), run("high", excess=high), run("noise", excess=noise))
    yes, no, open_ = Comparison("excess", "low", "lower", "high", when="yes"), Comparison("excess", "high", "lower", "low", when="no"), None
    open_ = Comparison("excess", "noise", "lower", 0.45, when="open")
    absent = Comparison("excess", "gone", "lower", "low", when="gone")
    assert judged(found, yes, no).verdict == "holds only under yes"
    assert judged(found, no, open_).verdict == "does not hold"  # one exception is enough
    assert judged(found, yes, open_).verdict == "undecided"
    assert judged(found, yes, open_).remark == "shown under yes"
    assert judged(found, yes, absent).verdict == "holds"
    assert judged(found, yes, absent).remark == "1 of 2 conditions tested"
    assert judged(found, absent).verdict == "not testable at this budget"


def test_shares_of_seeds_and_what_one_seed_proves():
    found = sides(run("sure", proof=[0, 0, 0, 0] * 5), run("never", proof=[3, 2, 9, 1] * 5))
    runs = list(found.runs.values())
    for one, values in zip(runs, ([0.0] * 20, [3.0] * 20), strict=True):
        for seed, value in zip(one.evaluation["seeds"].values(), values, strict=True):
            seed["proof"] = {"failures": value}
    reached = {"seeds_at_most": 0.0}
    assert judged(found, Comparison("proof_failures", "sure", "higher", "never", **reached)).verdict == "holds"
    assert judged(found, Comparison("proof_failures", "sure", "higher", 0.5, **reached)).verdict == "holds"
    assert judged(found, Comparison("proof_failures", "never", "at_least", 0.5, **reached)).verdict == "does not hold"
    runs[1].evaluation["seeds"]["7"]["proof"]["failures"] = 0.0
    proved = judged(found, Comparison("proof_failures", "never", "at_most", 0.0, exists=True, **reached))
    assert (proved.verdict, proved.outcomes[0].proved) == ("holds", (1, 20))


def test_an_analysis_is_held_against_untrained_models():
    estimate = {"value": 0.5, "low": 0.45, "high": 0.55, "n": 64, "untrained": 0.2, "untrained_low": 0.1, "untrained_high": 0.3}
    drawn = {"value": 0.5, "n": 64, "shuffled": 0.2, "shuffled_low": 0.1, "shuffled_high": 0.3, "shuffled_p": 0.005}
    found = sides(run("a", interpret={"maps": {"metrics": {"x.previous": estimate, "drawn": drawn}}, "none": {"skipped": "no heads"}}, excess=[1.0]))
    assert judged(found, Comparison("maps.x.previous", "a", "higher", "untrained")).verdict == "holds"
    assert judged(found, Comparison("maps.x.previous", "a", "lower", "untrained")).verdict == "does not hold"
    assert judged(found, Comparison("maps.x.previous", "a", "higher", 0.52)).verdict == "undecided"
    assert judged(found, Comparison("maps.drawn", "a", "higher", "shuffled")).verdict == "holds"
    for metric, right, reason in (
        ("maps.x.previuos", "untrained", "did you mean 'x.previous'?"),
        ("maps.x.previous", "shuffled", "no null 'shuffled' (known: untrained)"),
        ("none.x", "untrained", "no heads"),
        ("later.x", "untrained", "no results"),
    ):
        assert reason in judged(found, Comparison(metric, "a", "higher", right)).outcomes[0].missing.reason


def test_what_is_missing_is_said_with_the_command_that_makes_it():
    only = {"smoke": ["x"], "study": ["x"], "full": ["x"], "paper": None}
    raw = {
        "runs": {"a": {"seeds": {"smoke": 0, "study": 0, "full": 3, "paper": 3}}, "b": {"seeds": {"smoke": 1, "study": 1, "full": 2, "paper": 2}}},
        "sweeps": {"s": {"base": "variants.g", "seeds": {"smoke": 0, "study": 2, "full": 2, "paper": 5}, "only": only}},
        "variants": {"g": {"x": {}, "y": {}}},
    }
    sweep = Sweep("s", {"base": "variants.g", "seeds": 2, "task": "numbers", "training": RECIPE}, {"cells": [cell("x", excess=[1.0, 2.0])]})
    found = sides(run("a", missing="not part of budget study"), run("b", excess=[1.0]), run("c", missing="not trained yet"), sweeps=[sweep], raw=raw)

    def missing(test):
        gone = judged(found, test).outcomes[0].missing
        return gone.reason, gone.command

    assert missing(Comparison("excess", "a", "lower", 1.0)) == ("a: not part of budget study", "dvc exp run -S budget=full evaluate@a")
    assert missing(Comparison("excess", "b", "lower", 1.0)) == ("b: one seed allows no interval", "dvc exp run -S budget=full evaluate@b")
    assert missing(Comparison("excess", "s/y", "lower", 1.0)) == ("sweep s: no cell 'y' at budget study", "dvc exp run -S budget=paper sweep@s")
    assert missing(Comparison("excess_64", "b", "lower", 1.0))[0] == "b: excess_64 was not measured at this budget"
    old = sides(sweeps=[Sweep("s", sweep.config, {**sweep.result, "budget": "smoke"})], raw=raw)
    assert judged(old, Comparison("excess", "s/x", "lower", 9.0)).outcomes[0].missing.reason == "sweep s: results of budget smoke, not of study"
    assert judged(found, Comparison("excess", "s/x", "lower", 9.0)).outcomes[0].difference
    assert missing(Comparison("excess", "c", "lower", 1.0)) == ("c: not trained yet", "")


@pytest.mark.parametrize("expect", ["higher", "alike", "at_most"])
def test_a_whole_ledger_of_no_effects_errs_in_one_of_twenty(expect):
    """Twenty claims at their boundaries, where a false "holds" is the likeliest; 200 such ledgers."""
    draw = np.random.Generator(np.random.PCG64(7))
    margin = 0.5 if expect == "alike" else 0.0
    known = {f"c{k}": Claim("000", "", "", [Comparison("excess", f"a{k}", expect, f"b{k}", margin=margin)]) for k in range(20)}
    ledgers, wrong = 200, 0
    for _ in range(ledgers):
        luck = draw.normal(size=(20, 3))
        runs = [run(f"b{k}", excess=list(luck[k] + 0.3 * draw.normal(size=3))) for k in range(20)]
        runs += [run(f"a{k}", excess=list(luck[k] + margin + 0.3 * draw.normal(size=3))) for k in range(20)]
        wrong += any(one.verdict == "holds" for one in ledger.judge(known, sides(*runs)))
    assert wrong / ledgers <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / ledgers)


def test_the_correction_grows_with_the_ledger():
    a, b = [0.10, 0.14, 0.12], [0.20, 0.21, 0.23]
    test = Comparison("excess", "a", "lower", "b")
    alone = ledger.judge({"it": Claim("", "", "", [test])}, sides(run("a", excess=a), run("b", excess=b)))[0]
    many = {f"c{k}": Claim("", "", "", [test if k == 0 else Comparison("excess", "a", "lower", "a2")]) for k in range(20)}
    among = ledger.judge(many, sides(run("a", excess=a), run("b", excess=b), run("a2", excess=[0.3, 0.1, 0.0])))[0]
    assert (alone.verdict, among.verdict) == ("holds", "undecided")
    assert among.outcomes[0].alone == "holds"
    assert among.outcomes[0].adjusted == pytest.approx(20 * alone.outcomes[0].p)


def test_tables_and_headlines_say_what_was_measured():
    found = sides(run("a", excess=[0.10, 0.11, 0.12, 0.10]), run("b", excess=[0.50, 0.52, 0.51, 0.50]))
    known = {
        "one": Claim("003", "", "It is lower.", [Comparison("excess", "a", "lower", "b")]),
        "two": Claim("003", "", "Both.", [Comparison("excess", "a", "lower", "b", when="x"), Comparison("excess", "c", "lower", "b", when="y")]),
        "none": Claim("003", "", "Nobody knows.", untested="Too far away.", command="go there"),
    }
    result = ledger.judge(known, found)
    tested, untested = verdicts.tables(result)
    assert [row.label for row in tested.rows][:2] == ["It is lower. [003]", "excess: a < b"]
    assert list(tested.rows[1].cells)[:5] == ["holds", "0.1075", "0.5075", "-0.4000 [-0.413, -0.387]", "4"]
    assert tested.rows[4].note == "params.yaml has no run c"
    assert list(untested.rows[0].cells) == ["003", "Too far away.", "go there"]
    assert all(len(row.cells) == len(tested.head) - 1 for row in tested.rows if row.cells)
    numbers = verdicts.headlines(result)
    assert numbers["one"] == pytest.approx({"verdict": "holds", "difference": -0.4, "low": -0.413, "high": -0.387, "n": 4}, abs=1e-3)
    assert numbers["two"]["x"]["n"] == 4
    assert set(numbers["two"]) == {"x", "verdict"}
    assert numbers["none"] == {"verdict": "not testable at this budget"}
    assert verdicts.sentence(result) == "Of 3 claims, 2 hold, and 1 cannot be tested at this budget; corrected for 2 tests."


def test_metrics_of_curves_and_of_samples():
    curve = [{"seed": "0", "step": "1", "validation_loss": "3"}, {"seed": "0", "step": "2", "validation_loss": ""}]
    curve += [{"seed": "0", "step": "3", "validation_loss": "1"}, {"seed": "0", "step": "4", "validation_loss": "2"}]
    one = run("a", curve=curve, sampling=[{"seed": "0", "setting": "greedy", "distinct_2": "0.5"}, {"seed": "1", "setting": "greedy", "distinct_2": ""}])
    assert [seeds.of_run(one, f"validation_loss@{point}")["0"] for point in ("first", "best", "last")] == [3, 1, 2]
    assert seeds.of_run(one, "distinct_2@greedy") == {"0": 0.5}
    assert seeds.of_run(one, "distinct_2@top-p 0.2") == {}


def test_unknown_names_are_refused_in_one_line(tmp_path):
    params = {
        "runs": {"linear": {}, "softmax": {}},
        "sweeps": {"grid": {"base": "variants.g", "grid": {"training.lr": [1]}}},
        "variants": {"g": {"gated": {}}},
        "samples": {"settings": {"greedy": {}}},
    }

    def refused(**test):
        with pytest.raises(UserError) as error:
            claims.check(
                {"it": Claim("", "", "", [Comparison(**{"metric": "excess", "left": "linear", "expect": "lower", "right": "softmax", **test})])}, params
            )
        assert "\n" not in str(error.value)
        return str(error.value)

    assert refused(right="sofmax").startswith("claims.it.tests.0.right: no run 'sofmax' in params.yaml (did you mean 'softmax'?")
    assert "no sweep 'gird' in params.yaml (did you mean 'grid'?" in refused(right="gird/gated")
    assert "sweeps.grid has no 'gatd' (did you mean 'gated'?" in refused(left="grid/gatd", right="linear")
    assert "sweeps.grid has no 'rl=' (did you mean 'lr='?" in refused(left="grid/gated rl=1", right="linear")
    assert refused(metric="exces_64").startswith("claims.it.tests.0.metric: unknown metric 'exces_64' (did you mean 'excess'?")
    assert refused(right_metric="exces").startswith("claims.it.tests.0.right_metric: unknown metric 'exces'")
    assert "unknown 'greddy' after @ (did you mean 'greedy'?" in refused(metric="distinct_2@greddy")
    assert "unknown metric 'repetitions' before @greedy (did you mean 'repetition'?" in refused(metric="repetitions@greedy")
    assert "unknown metric 'valid_loss' before @best (did you mean 'validation_loss'?" in refused(metric="valid_loss@best")
    assert "no analysis 'attention_map' (did you mean 'attention_maps'?" in refused(metric="attention_map.text.previous", right="untrained")
    assert "a sweep keeps no curves" in refused(left="grid/gated", metric="train_loss@best")
    claims.check({"it": Claim("", "", "", [Comparison("exces", "elsewhere", "lower", 0.0)])}, params)  # of another study


def test_an_entry_is_checked_to_the_last_key(tmp_path):
    def refused(text):
        path = tmp_path / "claims.yaml"
        path.write_text("it:\n  source: '000'\n  idea: so\n  claim: So.\n" + text)
        with pytest.raises(UserError) as error:
            claims.load(path)
        return str(error.value)

    assert refused("  tets: []\n").startswith("claims.it.tets: unknown parameter (did you mean 'tests'?")
    assert refused("  tests: [{metric: excess, left: a, expects: lower, right: b}]\n").startswith("claims.it.tests.0.expects: unknown parameter")
    assert "claims.it.tests.0.expect: " in refused("  tests: [{metric: excess, left: a, expect: less, right: b}]\n")
    assert refused("  tests: [{metric: excess, left: a, right: b}]\n") == "claims.it.tests.0.expect: is missing; add it to claims.yaml"
    assert "alike means closer than some margin" in refused("  tests: [{metric: excess, left: a, expect: alike, right: b}]\n")
    assert "add a test, or say in untested why there is none" in refused("  note: none\n")
    several = "{metric: excess, left: a, expect: lower, right: b}"
    assert "needs a `when` of its own" in refused(f"  tests: [{several}, {several}]\n")


def test_the_shipped_ledger_fits_the_shipped_study():
    raw = read(ROOT / "params.yaml")
    known = claims.load()
    assert len(known) > 40
    for budget in BUDGETS:
        claims.check(known, {"budget": budget, **Study(raw, budget).params})
    found = Sides({"budget": "study"}, raw, [], [])
    for name, claim in known.items():
        for test in claim.tests:
            for _, side, metric in test.sides:
                missing = found.find(side, metric) if not test.analysis else found.analysis(side, metric)
                assert "params.yaml has no" in missing.reason  # the study was not collected
                assert found._command(side), f"{name}: no budget has {side}"


def test_the_commands_of_the_shipped_ledger_are_understood():
    commands = [claim.command for claim in claims.load().values() if claim.command]
    assert commands
    for command in commands:
        words = shlex.split(command)
        raw = copy.deepcopy(read(ROOT / "params.yaml"))
        for added in (word.removeprefix("+") for word in words if word.startswith("+")):
            where, _, value = added.partition("=")
            section, name = where.split(".")
            raw[section][name] = YAML(typ="safe").load(value)
        study = Study(raw, "paper")
        study.task("wiki")
        assert study.run("wiki").seeds == 1
        assert words[-1] == "evaluate@wiki"


def test_the_page_and_the_metrics_have_the_ledger(tmp_path, monkeypatch):
    from test_report import numeric, parameters

    for name, excess in (("softmax", [0.001, 0.002, 0.003]), ("linear", [0.101, 0.103, 0.102])):
        numeric(tmp_path, name, excess)
    one = Claim("000", "attention without a softmax", "Linear is <worse>.", [Comparison("excess", "linear", "higher", "softmax")], note="Of one seed there.")
    monkeypatch.setattr(claims, "load", lambda: {"worse": one})
    compare(parameters(), tmp_path)
    html, markdown = (tmp_path / "plots/report.html").read_text(), (tmp_path / "plots/report.md").read_text()
    assert html.index("Linear is &lt;worse&gt;. [000]") < html.index('id="task-classic"')
    for text in ("Of 1 claims, 1 hold, and 0 cannot be tested", "excess: linear > softmax"):
        assert text in markdown
    assert "attention without a softmax. Of one seed there." in html
    assert read_json(tmp_path / "metrics/claims.json")["worse"]["verdict"] == "holds"
    assert read_json(tmp_path / "metrics/compare.json")["claims"]["holds"] == 1
    monkeypatch.setattr(claims, "load", lambda: {"worse": Claim("", "", "", [Comparison("excess", "linear", "higher", "sofmax")])})
    with pytest.raises(UserError, match="did you mean 'softmax'"):
        compare(parameters(), tmp_path)
