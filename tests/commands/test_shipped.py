"""The models that the repository holds: small, and all that a fresh clone needs to write, add, look inside and be served."""

import shutil
from pathlib import Path

import pytest

import picollm
from picollm.cli import app
from picollm.core.files import read_json, read_record
from picollm.loaded.folders import SHIPPED, folder_of, trained
from picollm.loaded.ship import RUNS
from picollm.serving.answers import Answers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """What git gives of the checkout, as far as these commands read it: no data but the shipped."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / SHIPPED, tmp_path / SHIPPED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(capsys, *words):
    app(list(words), standalone_mode=False)
    return capsys.readouterr().out


def test_they_are_few_and_small(clone):
    assert trained() == sorted(RUNS)
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 6_000_000


def test_they_are_those_of_the_committed_study():
    """Else their cards would claim nothing of what was measured. After a new study: make ship."""
    for run in RUNS:
        trained_here = read_record(ROOT / f"metrics/train/{run}.json")["fingerprints"]
        for config in (ROOT / SHIPPED / run).glob("seed*/config.json"):
            facts = read_json(config)
            assert facts["fingerprint"] == trained_here[str(facts["seed"])], run


def test_numbers_go_on_close_to_the_floor(clone):
    """An arithmetic sequence past its second term: nearly nothing is left to guess, for either kind of attention."""
    for run in ("classic_softmax", "classic_linear"):
        model = picollm.load(run)
        assert model.generate("3 7 11 15", length=2, temperature=0).split()[:2] == ["19", "23"]
        score = model.score("3 7 11 15 19 23")
        known = [(token.bits, token.floor_bits) for token in score.tokens[3:]]
        assert all(0 <= bits - floor < 0.2 for bits, floor in known), known


def test_the_adder_adds_and_is_proved_from_its_file(clone, capsys):
    assert "1342 + 879 = 2221\n" in ask(capsys, "add", "adder", "1342", "879")
    said = ask(capsys, "verify", "adder")
    assert "certificate" in said
    assert "failures       0\n" in said


def test_stories_go_on_and_are_looked_into(clone, capsys):
    assert ask(capsys, "sample", "fables_transformer", "--prompt", "Once upon a time", "--temperature", "0").startswith("Once upon a time")
    assert "attention" in ask(capsys, "analyze", "fables_transformer", "--text", "Once upon a time").lower()


def test_the_page_lists_them(clone):
    names = {run["name"] for run in Answers().runs()["runs"]}
    assert names == set(RUNS)


def test_a_model_trained_here_goes_before_them(clone):
    assert folder_of("adder") == SHIPPED / "adder/seed0"
    shutil.copytree(SHIPPED / "adder", "data/checkpoints/adder")
    assert folder_of("adder") == Path("data/checkpoints/adder/seed0")
