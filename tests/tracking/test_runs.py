"""What later stages log: evaluation on the training's row too, interpretation's numbers and report, the comparison once."""

import json

from picollm import tracking
from picollm.core.files import write_json, write_text


def last(client, experiment: str, name: str):
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], f"attributes.run_name = '{name}'")
    assert len(found) == 1
    return found[0]


def files(client, run, folder: str | None = None) -> list[str]:
    return [file.path for file in client.list_artifacts(run.info.run_id, folder)]


def test_the_row_of_a_training_shows_its_evaluation(checkout):
    write_text(checkout.path / "plots/evaluate/numbers/length.csv", "length,excess\n")
    tracking.child("numbers", "numbers", "evaluate", "mark", {"excess": 0.25, "test_accuracy": 0.5}, checkout.path / "plots/evaluate/numbers")
    training, evaluation = last(checkout.client, "numbers", "numbers"), last(checkout.client, "numbers", "numbers evaluate")
    assert evaluation.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert evaluation.data.metrics == {"excess": 0.25, "test_accuracy": 0.5}
    assert evaluation.data.metrics.items() <= training.data.metrics.items()
    assert files(checkout.client, evaluation, "figures") == ["figures/length.csv"]
    assert training.info.status == evaluation.info.status == "FINISHED"


def test_interpretation_logs_its_estimates_its_figures_and_its_report(checkout):
    estimate = {"value": 0.5, "n": 9, "untrained": 0.1, "untrained_high": 0.2}
    write_json(checkout.path / "metrics/interpret/numbers.json", {"lens": {"metrics": {"walk.depth": estimate}}, "probes": {"skipped": "no labels"}})
    write_text(checkout.path / "plots/interpret/numbers/report.md", "# numbers: what is inside\n")
    write_text(checkout.path / "plots/interpret/numbers/lens.png", "a picture")
    tracking.child("numbers", "numbers", "interpret", "mark", {}, checkout.path / "plots/interpret/numbers")
    found = last(checkout.client, "numbers", "numbers interpret")
    assert found.data.metrics == {"lens/walk.depth": 0.5}
    assert files(checkout.client, found, "figures") == ["figures/lens.png", "figures/report.md"]
    assert "lens/walk.depth" not in last(checkout.client, "numbers", "numbers").data.metrics


def test_a_comparison_is_logged_once(checkout):
    page, text = checkout.path / "report.html", checkout.path / "report.md"
    for words in ("first", "first", "second"):
        write_text(page, f"<p>{words}</p>")
        write_text(text, words)
        tracking.comparison([page, text], {"numbers": {"excess": 0.25}, "claim x": {"verdict": "holds", "sides": {"n": 2}}})
    found = checkout.client.search_runs([checkout.client.get_experiment_by_name("comparison").experiment_id])
    assert len(found) == 2
    assert found[0].data.metrics == {"numbers/excess": 0.25}
    assert files(checkout.client, found[0]) == ["report.html", "report.md"]


def test_only_a_finished_run_is_found(checkout):
    assert tracking.find("mark", "train")
    assert tracking.find("mark", "evaluate") is None
    try:
        with tracking.run("x", experiment="numbers", stage="evaluate", fingerprint="mark"):
            assert tracking.find("mark", "evaluate") is None
            raise ValueError("no")
    except ValueError:
        pass
    assert tracking.find("mark", "evaluate") is None


def test_the_page_of_an_experiment_begins_with_what_its_runs_are_judged_by(checkout):
    tracking.show_first("numbers", ["excess", "test_loss"], ["model.attention"])
    tags = checkout.client.get_experiment_by_name("numbers").tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "excess"
    view = json.loads(json.loads(tags["mlflow.sharedViewState.best"])["state"])
    assert view["selectedColumns"] == ["metrics.`excess`", "metrics.`test_loss`", "params.`model.attention`"]
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`excess`", True)
    assert "viewStateShareKey=best" in tags["mlflow.note.content"]

    checkout.client.set_experiment_tag(checkout.client.get_experiment_by_name("numbers").experiment_id, "mlflow.note.content", "mine")
    tracking.show_first("numbers", ["test_loss"], [])
    tags = checkout.client.get_experiment_by_name("numbers").tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "test_loss"
    assert tags["mlflow.note.content"] == "mine"
