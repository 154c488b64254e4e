"""Comparisons in a small git repository with synthetic results: the right numbers side by side, and one line for what there is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from picollm.comparing import command
from picollm.comparing.compared import DIRECTIONS, direction
from picollm.core.files import write_json, write_text
from picollm.core.statistics import summary
from picollm.report.seeds import KNOWN

PARAMS = """\
budget: study
tasks:
  numbers: {kind: numeric, spec: classic, train: {smoke: 5, study: 50, full: 500, paper: 500}}
runs:
  softmax: {task: numbers, seeds: 3, model: {kind: transformer, attention: softmax}, training: {steps: 20, lr: LR}}
  linear: {task: numbers, seeds: 3, model: {kind: transformer, attention: linear}, training: {steps: 20, lr: LR}}
  coarse: {task: numbers, seeds: 3, model: {kind: transformer, attention: linear}, training: {steps: 20, lr: LR, batch_size: 8}}
  single: {task: numbers, seeds: 1, model: {kind: lstm}, training: {steps: 20}}
  later: {task: numbers, seeds: 0, model: {kind: lstm}, training: {steps: 20}}
"""
LUCK = (0.0, 0.5, 1.0)  # of a seed's data: far more than what differs between the runs


def results(root: Path, name: str, excess: list[float]) -> None:
    losses = {str(seed): {"train_loss": value, "validation_loss": value + 0.1} for seed, value in enumerate(excess)}
    means = {key: summary([own[key] for own in losses.values()]) for key in ("train_loss", "validation_loss")}
    facts = {"run": name, "task": "numbers", "budget": "study", "parameters": 99, "steps": 20, "tokens": 640}
    write_json(root / f"metrics/train/{name}.json", {**facts, "seeds": losses, "summary": means, "fingerprints": dict.fromkeys(losses, f"mark of {name}")})
    seeds = {str(seed): {"test": {"excess": value, "accuracy": 1 - value / 10, "loss": 2.0}} for seed, value in enumerate(excess)}
    means = {"excess": summary(excess), "test_accuracy": summary([1 - value / 10 for value in excess]), "test_loss": summary([2.0] * len(excess))}
    write_json(root / f"metrics/evaluate/{name}.json", {**facts, "kind": "numeric", "seeds": seeds, "summary": means})
    rows = [f"{seed},{step},{value + 4 / step},{value + 5 / step}" for seed, value in enumerate(excess) for step in (10, 20)]
    write_text(root / f"plots/train/{name}.csv", "\n".join(["seed,step,train_loss,validation_loss", *rows]) + "\n")


def study(root: Path, worse: float, lr: str = "0.002") -> None:
    write_text(root / "params.yaml", PARAMS.replace("LR", lr))
    for name, more in (("softmax", (0.0, 0.0, 0.0)), ("linear", (0.10, 0.11, 0.12)), ("coarse", (0.10, 0.11, 0.12))):
        results(root, name, [value + plus + worse + 0.001 * seed for seed, (value, plus) in enumerate(zip(LUCK, more, strict=True))])
    results(root, "single", [0.3])


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """`main` with results; the workspace is 0.2 worse with another learning rate; an experiment of DVC is 0.5 worse; `empty` has none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    git("init", "-q", "-b", "empty")
    write_text(tmp_path / "README", "nothing yet")
    git("add", "-A")
    git("commit", "-q", "-m", "nothing yet")
    git("checkout", "-q", "-b", "main")
    study(tmp_path, 0.0)
    git("add", "-A")
    git("commit", "-q", "-m", "results")
    study(tmp_path, 0.5)
    git("add", "-A")
    git("commit", "-q", "-m", "an experiment")
    git("update-ref", f"refs/exps/ab/{'c' * 38}/warm-newt", "HEAD")
    git("reset", "-q", "--hard", "HEAD~1")
    study(tmp_path, 0.2, lr="0.004")
    return tmp_path


@pytest.fixture
def compare(repository, capsys):
    def run(*names, **options):
        code = command.run(names, **options)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def of(compare, *names):
    code, out, _ = compare(*names, form="json")
    assert code == 0
    return json.loads(out)["comparisons"]


def test_two_runs_are_paired_by_seed(compare):
    (found,) = of(compare, "softmax", "linear")
    assert (found["reference"], found["other"]) == ("softmax", "linear")
    excess = found["metrics"]["excess"]
    half = 4.302652729911275 * 0.01 / 3**0.5  # t with 2 degrees of freedom
    assert (excess["how"], excess["n"], excess["reading"]) == ("paired", 3, "worse")
    assert [excess["difference"], excess["low"], excess["high"]] == pytest.approx([0.11, 0.11 - half, 0.11 + half])
    assert found["metrics"]["test_accuracy"]["reading"] == "worse"
    assert found["parameters"] == {"model.attention": ["softmax", "linear"]}


def test_runs_that_saw_other_data_are_not_paired(compare):
    (found,) = of(compare, "softmax", "coarse")
    assert (found["metrics"]["excess"]["how"], found["metrics"]["excess"]["reading"]) == ("Welch", "no difference shown")


def test_without_a_name_the_workspace_is_compared_with_head(compare):
    found = of(compare)
    assert [(one["reference"], one["other"]) for one in found] == [(f"HEAD:{name}", name) for name in ("softmax", "linear", "coarse", "single")]
    assert found[0]["metrics"]["excess"]["difference"] == pytest.approx(0.2)
    assert found[0]["parameters"] == {"training.lr": ["0.002", "0.004"]}
    assert "low" not in found[3]["metrics"]["excess"]  # one seed


def test_a_run_beside_a_revision_is_compared_with_itself_there(compare):
    found = of(compare, "linear", "main", "warm-newt")
    assert [(one["reference"], one["other"]) for one in found] == [("main:linear", "warm-newt:linear"), ("main:linear", "linear")]
    assert [one["metrics"]["excess"]["difference"] for one in found] == pytest.approx([0.5, 0.2])


def test_two_revisions_run_by_run_and_a_run_at_each(compare):
    assert [one["other"] for one in of(compare, "main", "warm-newt")] == [f"warm-newt:{name}" for name in ("softmax", "linear", "coarse", "single")]
    (found,) = of(compare, "main:softmax", "warm-newt:linear")
    assert found["metrics"]["excess"]["difference"] == pytest.approx(0.61)


def test_a_checkpoint_has_the_figures_of_its_fingerprint(compare, repository):
    config = {
        "run": "linear",
        "task": "numbers",
        "seed": 1,
        "step": 20,
        "fingerprint": "mark of linear",
        "model": {"kind": "transformer", "attention": "gated"},
    }
    write_json(repository / "kept/config.json", config)
    (found,) = of(compare, "softmax", "kept")
    assert found["metrics"]["excess"]["other"] == {"mean": pytest.approx(0.5 + 0.11 + 0.2 + 0.001), "n": 1}
    assert found["parameters"] == {"model.attention": ["softmax", "gated"]}
    write_json(repository / "kept/config.json", {**config, "fingerprint": "another"})
    (found,) = of(compare, "softmax", "kept")
    assert (found["metrics"], found["parameters"]) == ({}, {"model.attention": ["softmax", "gated"]})
    assert "no metric that both have: parameters alone" in compare("softmax", "kept")[1]


def test_a_run_of_mlflow_is_read_from_its_store(compare, repository, monkeypatch):
    from picollm import tracking

    stored = {"name": "linear", "values": {"excess": {"0": 0.1, "1": 0.2, "2": 0.3}}, "parameters": {"model.attention": "linear"}, "curve": []}
    asked = []
    monkeypatch.setattr(tracking, "stored", lambda run_id: asked.append(run_id) or stored)
    (found,) = of(compare, "softmax", "0123456789abcdef" * 2)
    assert asked == ["0123456789abcdef" * 2]
    assert (found["other"], found["metrics"]["excess"]["how"]) == ("linear (01234567)", "Welch")
    assert found["parameters"] == {"model.attention": ["softmax", "linear"]}


def test_the_text_has_80_columns_and_the_intervals(compare):
    code, out, _ = compare("softmax", "linear", "main:linear")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[0] == "linear against softmax"
    assert "0.110 ± 0.025 -" in out
    assert "  model.attention: softmax -> linear" in out


def test_the_markdown_and_the_page(compare, repository):
    page = repository / "page.html"
    _, out, _ = compare("softmax", "linear", form="markdown", html=page)
    assert "| excess " in out
    assert "| model.attention |" in out
    text = page.read_text()
    assert text.count("<svg viewBox") == 2
    assert "0.110 [0.085, 0.13]" in text
    assert text.count("<script") == text.count("<script>") == 1, "its own, which its policy names"
    assert not [marker for marker in ("src=", "http://", "https://www") if marker in text.replace("http://www.w3.org", "")]
    first = text
    compare("softmax", "linear", html=page)
    assert page.read_text() == first


def failing(compare, condition, *names):
    code, out, err = compare(*names, fail_if=[condition])
    return code, (out or err).splitlines()[-1]


def test_a_condition_fails_where_the_whole_interval_is_beyond(compare):
    assert failing(compare, "softmax.excess worse than main by 0.1") == (1, "FAILED: softmax.excess worse than main by 0.1: by 0.2 [0.2, 0.2]")
    assert failing(compare, "softmax.excess worse than main by 0.3")[0] == 0
    assert failing(compare, "softmax.excess better than main by 0")[0] == 0
    assert failing(compare, "main:softmax.excess better than softmax by 28%")[0] == 1  # 0.2 of 0.701
    assert failing(compare, "main:softmax.excess better than softmax by 29 %")[0] == 0
    assert failing(compare, "linear.test_accuracy worse than softmax by 0.005")[0] == 1  # higher is better
    assert failing(compare, "linear.test_accuracy better than softmax by 0")[0] == 0
    assert failing(compare, "linear.excess worse than softmax by 0.09")[0] == 0  # 0.11 is beyond, its interval reaches below
    assert failing(compare, "linear.excess worse than softmax by 0.08")[0] == 1
    assert failing(compare, "coarse.excess worse than softmax by 0.01")[0] == 0  # not paired: the seeds' luck covers it


def test_conditions_alone_compare_what_they_name(compare):
    code, out, _ = compare(fail_if=["linear.excess worse than softmax by 1", "linear.excess worse than main by 0.1"], form="json")
    found = json.loads(out)
    assert code == 1
    assert [one["met"] for one in found["conditions"]] == [False, True]
    assert [one["reference"] for one in found["comparisons"]] == ["softmax", "main:linear"]


@pytest.mark.parametrize(
    ("names", "condition", "said"),
    [
        (["sofmax", "linear"], None, "sofmax: no such run, revision, experiment, MLflow run or checkpoint (did you mean 'softmax'?"),
        (["softmx"], None, "softmx: no such run, revision"),
        (["softmax", "f" * 32], None, "no such run, revision, experiment, MLflow run"),
        (["man:softmax", "linear"], None, "man: no such revision or experiment (did you mean 'main'?"),
        (["main:sofmax", "linear"], None, "main:sofmax: no such run (did you mean 'softmax'?"),
        (["empty"], None, "empty: revision "),
        (["softmax", "later"], None, "later: not part of budget study; raise runs.later.seeds"),
        (["--upload-pack=x", "softmax"], None, "--upload-pack=x: no such run"),
        ([], "excess worse than main by 1", "--fail-if 'excess worse than main by 1': is no condition; write RUN.METRIC worse than"),
        ([], "softmax.excess worse than main by a lot", "is no condition"),
        ([], "softmax.excess bigger than main by 1", "is no condition"),
        ([], "softmax.exces worse than main by 1", "neither better nor worse"),
        ([], "softmax.accuracy worse than main by 1", "softmax has no metric 'accuracy' (did you mean 'test_accuracy'?"),
        ([], "softmax.floor worse than main by 1", "floor is neither better nor worse"),
        ([], "softmax.excess worse than mian by 1", "mian: no such run, revision, experiment, MLflow run or checkpoint (did you mean 'main'?"),
        ([], "single.excess worse than main by 1", "one seed has no interval"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(compare, names, condition, said):
    code, out, err = compare(*names, fail_if=[condition] if condition else [])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_outside_a_repository_runs_can_still_be_compared(compare, repository):
    git("rev-parse", "HEAD")
    (repository / ".git").rename(repository / "gone")
    assert compare("softmax", "linear")[0] == 0
    assert compare("softmax")[0] == 2


def test_the_command_line_passes_the_exit_code_on(repository):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = ["compare", "--json", "--fail-if", "softmax.excess worse than main by 1%"]
    done = subprocess.run([sys.executable, "-m", "picollm", *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["conditions"][0]["met"]


def test_every_metric_but_facts_of_the_data_has_a_direction():
    neither = {name for name in KNOWN if not direction(name)}
    assert neither == {name for name in KNOWN if "floor" in name or name.endswith(("bayes_entropy", "walk_entropy", "rounding")) or name == "entropy"}
    assert direction("never_wrong_identified_512") == direction("accuracy_64") == 1
    assert direction("excess_pairs_64") == direction("steps_to_exact") == -1
    assert set(DIRECTIONS.values()) == {-1, 0, 1}
