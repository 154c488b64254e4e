"""What a run of all analyses writes: everything it names, the same bytes twice; and what it says of bad options."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picollm.analysis._options import Options
from picollm.analysis._result import Claim, Subject, estimate
from picollm.analysis._runner import run_all, text_report
from picollm.core import registry
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.files import write_json


def run(subject: Subject, out: Path) -> dict[str, Any]:
    report = run_all(subject, out)
    write_json(out / "report.json", report)  # no NaN, nothing but plain values
    return report


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module", params=["numeric", "text"])
def twice(request: pytest.FixtureRequest, make: Callable[..., Subject], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Path]:
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    options = {"prompt": "the cat", "untrained": 2}
    run(make(request.param, options, n_layer=1), first)
    return run(make(request.param, options, n_layer=1), second), first, second


def test_twice_the_same_bytes(twice: tuple[dict[str, Any], Path, Path]) -> None:
    report, first, second = twice
    assert content(first) == content(second)
    assert sorted([*(file for entry in report.values() for file in entry.get("files", [])), "report.json"]) == list(content(first))
    assert all(len(value) < 200_000 for value in content(first).values())
    assert list(report) == registry.names("analysis")


def test_analyses_of_fables_give_the_same_bytes_too(tell: Callable[..., Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("_stories", "_counterfactuals"):
        monkeypatch.setattr(f"picollm.analysis.{module}.STORIES", 300)
    own = {"analyses": ["attribution", "grammar_heads", "logit_lens", "minimal_pairs", "patching"]}
    for name in ("first", "second"):
        assert not any("skipped" in entry for entry in run(tell(own, n_layer=1), tmp_path / name).values())
    assert content(tmp_path / "first") == content(tmp_path / "second")


def test_the_analysis_of_modular_tasks_gives_the_same_bytes_too(make: Callable[..., Subject], tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert "metrics" in run(make("modular", {"analyses": ["modular_arithmetic"], "untrained": 2}, n_layer=1), tmp_path / name)["modular_arithmetic"]
    assert content(tmp_path / "first") == content(tmp_path / "second")


def test_arrays_and_tables_can_be_read(twice: tuple[dict[str, Any], Path, Path]) -> None:
    _, folder, _ = twice
    with np.load(folder / "attention_maps.npz") as arrays:
        assert set(arrays) in ({"alternating", "arithmetic"}, {"text"})
        assert all(np.allclose(array.sum(-1), 1, atol=1e-5) for array in arrays.values())
    header, *rows = (folder / "attention_maps.csv").read_text().splitlines()
    assert header == "sequences,measure,layer,head,value,low,high,n,uniform,untrained,untrained_low,untrained_high"
    assert rows[0].split(",")[:4] in (["arithmetic", "distance", "0", "0"], ["text", "distance", "0", "0"])


@pytest.mark.parametrize("block", [{"kind": "lstm"}, {"kind": "kgram"}, {"kind": "kgram", "variant": "onehot"}], ids=str)
def test_a_model_without_attention_keeps_what_applies(make: Callable[..., Subject], block: dict[str, str], tmp_path: Path) -> None:
    report = run(make(options={"untrained": 2}, **block), tmp_path)
    assert [name for name, entry in report.items() if "skipped" not in entry] == ["embedding_pca"]
    assert sorted(content(tmp_path)) == ["embedding_pca.csv", "embedding_pca.png", "embedding_pca_spectrum.csv", "report.json"]


@pytest.mark.parametrize(
    ("data", "of_ids"),
    [("urn", {"metrics", "files"}), ("parity", {"skipped"}), ("recall", {"skipped"})],
)
def test_tasks_without_sequence_types_keep_what_applies(make: Callable[..., Subject], tmp_path: Path, data: str, of_ids: set[str]) -> None:
    named = ["attention_maps", "embedding_pca", "grammar_heads", "minimal_pairs", "modular_arithmetic", "neuron_selectivity", "patching"]
    report = run(make(data, {"analyses": named, "untrained": 2}), tmp_path)
    found = report.pop("embedding_pca")
    assert set(found) - {"claims"} == of_ids
    assert {name: entry["skipped"] for name, entry in report.items()} == {
        "attention_maps": "the task has no sequence types",
        "grammar_heads": "its data are no fables, of which alone the grammar is known",
        "minimal_pairs": "there are minimal pairs of fables alone",
        "modular_arithmetic": "the task does not calculate modulo 127",
        "neuron_selectivity": "the task has no sequence types",
        "patching": "neither fables nor arithmetic sequences",
    }


def test_only_the_named_analyses_run(make: Callable[..., Subject], tmp_path: Path) -> None:
    assert list(run(make(options={"analyses": ["embedding_pca"]}), tmp_path)) == ["embedding_pca"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_types": ["aritmetic"]}, "sequence_types: unknown 'aritmetic' (did you mean 'arithmetic'? known: "),
        ({"sequence_types": []}, "sequence_types: is empty"),
        ({"analyses": ["attention_map"]}, "analyses: unknown 'attention_map' (did you mean 'attention_maps'? known: "),
        ({"length": 2}, "length: must be at least 3, not 2"),
        ({"length": "12"}, "length: "),
        ({"prompt": "  "}, "prompt: is empty"),
        ({"untrained": 0}, "untrained: must be at least 1, not 0"),
        ({"lenght": 12}, "lenght: unknown parameter (did you mean 'length'?"),
    ],
)
def test_bad_options_give_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Options, options, "interpret")
    assert str(caught.value).startswith(f"interpret.{message}")
    assert "\n" not in str(caught.value)


def test_estimate_ranks_itself_among_its_nulls() -> None:
    null = np.arange(99.0)
    found = estimate(97.5, 7, {"shuffled": null, "untrained": null[:3]}, uniform=0.5)
    assert found == {
        "value": 97.5, "n": 7, "uniform": 0.5,
        "shuffled": 49, "shuffled_low": 2, "shuffled_high": 96, "shuffled_p": 0.02,
        "untrained": 1, "untrained_low": 0, "untrained_high": 2,
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_a_result_is_remembered_until_something_it_depends_on_changes(make: Callable[..., Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    modules = {name: registry.load("analysis", name, "") for name in ("attention_maps", "embedding_pca")}
    for name, module in modules.items():
        monkeypatch.setattr(module, "analyse", lambda subject, name=name, own=module.analyse: (ran.append(name), own(subject))[1])

    def look(data: str = "numeric", **options: Any) -> dict[str, bytes]:
        subject = make(data, {"analyses": list(modules), "untrained": 2, **options}, n_layer=1)
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        write_json(out / "report.json", run_all(subject, out, tmp_path / "memory"))
        return content(out)

    first = look()
    assert ran == ["attention_maps", "embedding_pca"]
    assert look() == first
    assert ran == ["attention_maps", "embedding_pca"]
    look(length=10)
    assert ran == ["attention_maps", "embedding_pca"] * 2
    look("modular", length=10)
    assert ran == ["attention_maps", "embedding_pca"] * 3
    source = Path(modules["embedding_pca"].__file__)
    changed = tmp_path / "embedding_pca.py"
    changed.write_text(source.read_text() + "# another version\n")
    monkeypatch.setattr(modules["embedding_pca"], "__file__", str(changed))
    look("modular", length=10)
    assert ran == ["attention_maps", "embedding_pca"] * 3 + ["embedding_pca"]
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "memory").iterdir()) == ["attention_maps", "embedding_pca", "lock"]


def test_a_claim_has_no_number_of_its_own() -> None:
    metrics = {"previous": estimate(0.9123, 7, {}, head=3)}
    assert Claim("Head {previous:head} scores {previous:value}.").filled(metrics) == "Head 3 scores 0.9123."
    with pytest.raises(AssertionError, match="a number without a metric"):
        Claim("Head 3 scores {previous:value}.")


def test_the_text_report_is_made_of_claims_and_reasons() -> None:
    report = {"a_b": {"metrics": {}, "claims": ["One."], "files": []}, "c": {"skipped": "no heads"}, "d": {"metrics": {}, "files": []}}
    assert text_report("run", report) == "# run: what is inside\n\n## a b\n\n- One.\n\n## Not looked at\n\n- c: no heads\n"
