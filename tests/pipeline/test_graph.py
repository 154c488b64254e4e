"""What the graph runs, and when: the right stages after a change, none after none, each with honest dependencies."""

import json
import sys

from ruamel.yaml import YAML

RUNS = ("softmax", "linear", "writer")


def names(*stages: str) -> set[str]:
    return set(stages)


def edit(checkout, path: str, old: str, new: str) -> None:
    text = (checkout.path / path).read_text()
    assert old in text
    (checkout.path / path).write_text(text.replace(old, new, 1))


def stale(checkout) -> set[str]:
    """What would run for certain; what follows only if those outputs change is not among it. The check goes first: what it writes says the rest."""
    foreseen = json.loads(checkout.run(sys.executable, "-m", "picollm", "status", "--json").stdout)["stages"]
    checkout.run(sys.executable, "-m", "stages", "check")
    found = checkout.stages(checkout.run("dvc", "repro", "--dry").stdout)
    assert {name for name, stage in foreseen.items() if stage["state"] == "stale"} == found, "status knows it before the check has run"
    return found


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


def test_tables_of_dvc_have_the_columns_of_the_comparison_and_no_more(built):
    shown = json.loads(built.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert {path for path, entry in shown.items() if entry.get("data")} == {"metrics/compare.json"}
    assert shown["metrics/compare.json"]["data"] == json.loads((built.path / "metrics/compare.json").read_text())


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


def planned(checkout, path: str) -> dict[str, str]:
    """The code that a dependency names, if it is a plan."""
    return json.loads((checkout.path / path).read_text())["code"] if path.startswith("data/plans/") else {}


def test_what_a_plan_names_is_there_and_restarts_the_check(built):
    """Else a plan would be written no more when its code changes."""
    watched = {dep["path"] for dep in YAML(typ="safe").load((built.path / "dvc.lock").read_text())["stages"]["check"]["deps"]}
    plans = [path.relative_to(built.path).as_posix() for path in (built.path / "data/plans").rglob("*.json")]
    assert len(plans) == 16
    for path in {path for plan in plans for path in planned(built, plan)}:
        assert (built.path / path).exists(), path
        assert any(f"{path}/".startswith(f"{folder}/") for folder in watched), path


def test_values_of_other_budgets_and_variants_left_out_restart_nothing(checkout):
    edit(checkout, "params.yaml", "full: 1, paper: 1}", "full: 2, paper: 3}")
    edit(
        checkout,
        "params.yaml",
        "    softmax: {kind: transformer, attention: softmax, n_layer: 1",
        "    more: {kind: lstm, d_model: 16}\n    softmax: {kind: transformer, attention: softmax, n_layer: 1",
    )
    edit(checkout, "params.yaml", "  kinds:\n    base: variants.kinds\n", "  kinds:\n    base: variants.kinds\n    only: [softmax, linear]\n")
    assert stale(checkout) == names("check", "sweep@kinds", "compare")


def test_every_imported_module_is_a_dependency(built):
    """Tracking, the server and report modules aside: they watch results, they do not make them. `compare` is the report."""
    lock = YAML(typ="safe").load((built.path / "dvc.lock").read_text())["stages"]
    seen = {path.stem: json.loads(path.read_text()) for path in built.imports.glob("*.json")}
    assert set(seen) == set(lock)
    for stage, files in seen.items():
        declared = [path for dep in lock[stage]["deps"] for path in (dep["path"], *planned(built, dep["path"]))]
        unaware = ("picollm/tracking/", "picollm/forkserver.py", *([] if stage == "compare" else ["picollm/report/"]))
        empty = {file for file in files if file.endswith("__init__.py") and "def " not in (built.path / file).read_text()}
        covered = {file for file in files if any(f"{file}/".startswith(f"{dep}/") for dep in declared)}
        missing = [file for file in files if file not in empty | covered and not file.startswith(unaware)]
        assert not missing, f"{stage} imports {missing} without depending on them"


def test_stages_without_a_model_stay_light(built):
    """Tracking brings MLflow, which takes a second; of what brings torch, `compare` knows nothing."""
    files = {stage: json.loads((built.imports / f"{stage}.json").read_text()) for stage in ("check", "compare")}
    assert not [file for file in files["check"] if file.startswith("picollm/tracking/")]
    assert not [file for file in files["compare"] if file.startswith(("picollm/nn", "picollm/models", "picollm/loaded", "picollm/serving"))]
