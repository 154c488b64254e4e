"""Which model is a task's champion, and which columns its runs are read by."""

from dataclasses import replace

from picollm.report.collect import Run, Task
from picollm.report.figures import Style
from picollm.report.tracked import Champion, champion, columns


def run(name: str, excess: float, losses: tuple[float, ...] = (2.0, 1.0, 1.0), **model) -> Run:
    seeds = {str(seed): {"validation_loss": loss} for seed, loss in enumerate(losses)}
    train = {"seeds": seeds, "fingerprints": dict.fromkeys(seeds, f"mark of {name}"), "summary": {}}
    evaluation = {"seeds": seeds, "summary": {"excess": {"mean": excess}, "test_loss": {"mean": 1 + excess}}}
    return Run(name, {"model": {"kind": "transformer", **model}, "training": {"lr": 0.1}}, Style("k"), train=train, evaluation=evaluation)


def task(*runs: Run, kind: str = "numeric") -> Task:
    return Task("classic", {"kind": kind}, {}, {}, list(runs))


def test_the_champion_is_nearest_to_the_floor_and_its_seed_was_best_in_validation():
    found = champion(task(run("softmax", 0.2), run("linear", 0.1), run("lstm", 0.3)))
    said = "linear, seed 1 of 3: excess 0.1000, the lowest of 3 runs of classic."
    assert found == Champion("linear", 1, "mark of linear", "excess", said)


def test_results_of_another_budget_and_runs_without_any_are_no_champions():
    old = replace(run("linear", 0.1), missing="results of budget smoke, not of study")
    untrained = Run("lstm", {}, Style("k"), missing="not trained yet")
    assert champion(task(old, run("softmax", 0.2), untrained)).run == "softmax"
    assert champion(task(old, untrained)) is None
    assert columns(task(untrained)) == ([], [])


def test_columns_begin_with_what_judges_and_end_with_what_differs():
    assert columns(task(run("a", 0.2, attention="softmax"), run("b", 0.1, attention="linear"))) == (["excess", "test_loss", "parameters"], ["model.attention"])
