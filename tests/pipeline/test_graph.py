"""What the graph runs, and when: the right stages after a change, none after none, each with honest dependencies."""

import json

from ruamel.yaml import YAML

RUNS = ("softmax", "linear", "writer")


def names(*stages: str) -> set[str]:
    return set(stages)


def edit(checkout, path: str, old: str, new: str) -> None:
    text = (checkout.path / path).read_text()
    assert old in text
    (checkout.path / path).write_text(text.replace(old, new, 1))


def stale(checkout) -> set[str]:
    """What would run for certain; what follows only if those outputs change is not among it."""
    return checkout.stages(checkout.run("dvc", "repro", "--dry").stdout)


def test_one_command_builds_everything(built):
    expected = {f"{stage}@{task}" for stage in ("generate", "tokenize") for task in ("numbers", "story")}
    expected |= {f"{stage}@{run}" for stage in ("train", "evaluate", "interpret") for run in RUNS} | {"sweep@rates", "sweep@kinds", "explore@both"}
    expected |= {"check", "compare"}
    assert built.stages(built.log) == expected
    compared = json.loads((built.path / "metrics/compare.json").read_text())
    assert set(compared) == {*RUNS, "sweep kinds"}
    assert all(isinstance(value, float) for metrics in compared.values() for value in metrics.values())
    assert (built.path / "plots/report.html").stat().st_size > 10_000
    assert (built.path / "plots/explore/both.html").stat().st_size > 10_000


def test_nothing_changed_nothing_runs(built):
    assert stale(built) == set()


def test_one_runs_parameter_restarts_only_that_run(checkout):
    edit(checkout, "params.yaml", "steps: 20", "steps: 30")
    assert stale(checkout) == names("check", "train@softmax", "sweep@rates", "compare")


def test_a_variant_restarts_the_sweeps_of_its_group_and_nothing_else(checkout):
    edit(
        checkout,
        "params.yaml",
        "attention: linear, n_layer: 1, n_head: 2, d_model: 16}\nsweeps",
        "attention: linear, n_layer: 1, n_head: 4, d_model: 16}\nsweeps",
    )
    assert stale(checkout) == names("check", "sweep@kinds", "compare")


def test_a_report_module_restarts_no_training(checkout):
    for module in ("picollm/report/figures.py", "picollm/report/page.py", "picollm/tracking/runs.py"):
        (checkout.path / module).write_text((checkout.path / module).read_text() + "\n# edited\n")
    assert stale(checkout) == names("compare")


def test_an_edited_text_is_read_again_and_only_its_own_runs_are_trained_again(checkout):
    edit(checkout, "data/corpora/hare.txt", "hare", "hart")
    ran = checkout.stages(checkout.run("dvc", "repro", "tokenize@numbers", "train@writer", "train@softmax").stdout)
    assert ran == names("generate@numbers", "generate@story", "tokenize@story", "train@writer")


def test_a_new_model_restarts_no_training(checkout):
    (checkout.path / "picollm/models/other.py").write_text((checkout.path / "picollm/models/lstm.py").read_text())
    assert not {stage for stage in stale(checkout) if stage.startswith(("train", "evaluate", "interpret"))}


def test_every_imported_module_is_a_dependency(built):
    """Tracking and report modules aside: they watch results, they do not make them. `compare` is the report."""
    lock = YAML(typ="safe").load((built.path / "dvc.lock").read_text())["stages"]
    seen = {path.stem: json.loads(path.read_text()) for path in built.imports.glob("*.json")}
    assert set(seen) == set(lock)
    for stage, files in seen.items():
        declared = [dep["path"] for dep in lock[stage]["deps"]]
        unaware = ("picollm/tracking/", *([] if stage == "compare" else ["picollm/report/"]))
        empty = {file for file in files if file.endswith("__init__.py") and "def " not in (built.path / file).read_text()}
        covered = {file for file in files if any(f"{file}/".startswith(f"{dep}/") for dep in declared)}
        missing = [file for file in files if file not in empty | covered and not file.startswith(unaware)]
        assert not missing, f"{stage} imports {missing} without depending on them"


def test_stages_without_a_model_stay_light(built):
    """Tracking brings MLflow, which takes a second; of what brings torch, `compare` knows nothing."""
    files = {stage: json.loads((built.imports / f"{stage}.json").read_text()) for stage in ("check", "compare")}
    assert not [file for file in files["check"] if file.startswith("picollm/tracking/")]
    assert not [file for file in files["compare"] if file.startswith(("picollm/nn", "picollm/models", "picollm/loaded", "picollm/serving"))]
