"""The page of two models: it holds what the models do, asks for nothing, and answers to clicks and keys in a real browser."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from picollm.analysis._options import Options
from picollm.analysis._result import Skip, Subject
from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens
from picollm.explorer import collect as collecting
from picollm.explorer import roles
from picollm.explorer.build import html
from picollm.explorer.collect import Side, collect
from picollm.explorer.inside import look
from picollm.explorer.likeness import likeness
from picollm.explorer.packing import packed, triangles
from picollm.explorer.probes import probes
from picollm.training.checkpoints import load_model, read_config

NOT_MEASURED = Skip("to save time")
ROLES = [{"layer": 1, "head": 0, "label": "previous", "p": "0.05", "effect": "0.3125"}, {"layer": 0, "head": 1, "label": "first", "p": "0.1", "effect": None}]


@pytest.fixture
def side(study: Path) -> Callable[..., Side]:
    def make(run: str, found: list[dict[str, Any]] | None = None, length: int = 8) -> Side:
        folder = study / f"data/checkpoints/{run}/seed0"
        task = read_config(folder)["task"]
        options = Options(length=length, prompt="the cat")
        subject = Subject(load_model(folder), open_tokens(study / "data/tokens" / task), study / "data/raw" / task, options, folder)
        return Side(f"{run}/seed0", subject, found or [])

    return make


@pytest.fixture
def opened(side: Callable[..., Side], page: Any, tmp_path: Path) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """opened("softmax", "linear") -> the tab that shows the page, and the page's data."""

    def show(left: str, right: str, width: int = 1280) -> tuple[Any, dict[str, Any]]:
        data = collect("pair", [side(left, ROLES if left == "softmax" else None), side(right)], NOT_MEASURED)
        file = tmp_path / "page.html"
        file.write_text(html(data), encoding="utf-8")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        assert page.asked == [file.as_uri()]
        return page, data

    return show


def unpacked(entry: dict[str, Any]) -> np.ndarray:
    whole = np.frombuffer(base64.b64decode(entry["data"]), "<i2").reshape(len(entry["steps"]), -1)
    return whole * np.array(entry["steps"])[:, None]


def fact(tab: Any, name: str, number: int = 0) -> float:
    said = tab.locator(f"#side-{number} .map .said div").filter(has=tab.get_by_text(name, exact=True))
    return float(said.locator("dd").inner_text())


PAIRS = [("softmax", "linear"), ("signed", "filters"), ("adder", "adder"), ("writer", "lstm")]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_the_page_refers_to_nothing_and_runs_only_what_it_names(side: Callable[..., Side], left: str, right: str) -> None:
    source = html(collect("pair", [side(left), side(right)], NOT_MEASURED))
    assert source == html(collect("pair", [side(left), side(right)], NOT_MEASURED)), "the same bytes twice"
    assert not re.search(r"https?:|\bsrc=|@import|url\(|<link", source)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', source)
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    assert set(allowed) == {"default-src", "base-uri", "form-action", "style-src", "script-src"}
    assert "unsafe" not in policy
    script = source[source.rindex("<script>") :]
    assert len(script) < 200_000
    assert len(source.encode()) < 5_000_000


def test_packing_keeps_numbers_to_a_part_of_the_largest() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    values = rng.normal(size=(3, 50)) * np.array([[1e-6], [1.0], [1e4]])
    found = unpacked(packed(values))
    assert np.all(np.abs(found - values) <= np.abs(values).max(1, keepdims=True) / 65_000)
    assert np.array_equal(unpacked(packed(np.zeros((1, 4)))), np.zeros((1, 4)))
    assert triangles(np.arange(9).reshape(3, 3)).tolist() == [0, 3, 4, 6, 7, 8]


@pytest.mark.parametrize("run", ["softmax", "normed", "linear"])
def test_a_value_is_as_large_as_what_it_adds(side: Callable[..., Side], run: str) -> None:
    """Weight times value size is the length of what a head gets from a token alone: of the layer's output with all other weights at 0."""
    subject = side(run).subject
    ids = np.array([3, 5, 7, 9, 11])
    inside = look(subject, ids)
    assert inside.weights is not None
    assert inside.sizes is not None
    model: Any = subject.model
    attention, query, key, head, layer = model.attentions[1], 4, 2, 1, 1
    values = []
    model(torch.from_numpy(ids)[None], tap=lambda site, value: (values.append(value) if site == f"{layer}.v" else None, value)[1])
    weights = torch.zeros(1, attention.n_head, 5, 5)
    weights[0, head, query, key] = float(inside.weights[layer, head, query, key])
    norm, attention.kernel.norm = attention.kernel.norm, None
    with torch.no_grad():
        z = attention.kernel.applied(weights, values[0])
        z = z if norm is None else z * norm.weight
        added = attention.out.weight @ z[0, :, query].reshape(-1)
    assert float(added.norm()) == pytest.approx(float(inside.weights[layer, head, query, key] * inside.sizes[layer, head, key]), rel=1e-5)


def test_the_last_layer_says_what_the_model_says(side: Callable[..., Side]) -> None:
    subject = side("writer").subject
    for probe in probes(subject):
        inside = look(subject, probe.ids)
        assert inside.layers is not None
        with torch.no_grad():
            said = subject.model.logits(torch.from_numpy(probe.ids)[None])[0].softmax(-1).numpy()
        assert inside.layers.shape == (3, len(probe.ids), subject.model.vocab_size)
        assert np.allclose(inside.layers[-1], said, atol=1e-6)


def test_every_task_has_its_sequences(side: Callable[..., Side]) -> None:
    found = {run: probes(side(run).subject) for run in ("softmax", "adder", "writer", "table")}
    assert [probe.name for probe in found["softmax"]][:3] == ["counting, sequence 1", "counting, sequence 2", "arithmetic, sequence 1"]
    assert len(found["adder"]) == 6
    assert all(probe.asked[-1] == probe.ids[0] == 10 for probe in found["adder"]), "a + begins and, at last, ends a sum"
    assert [probe.name for probe in found["writer"]] == ["the prompt", *(f"test text {n}" for n in range(1, 6)), "12 tokens at random, twice"]
    again = found["writer"][-1].ids
    assert np.array_equal(again[:12], again[12:])
    for probe in (*found["writer"], *found["softmax"]):
        assert np.array_equal(probe.asked[:-1], probe.ids[1:])
        assert probe.asked[-1] < 0


def test_what_does_not_fit_is_left_out_and_named(side: Callable[..., Side], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = collect("pair", [side("softmax"), side("linear")], NOT_MEASURED)
    monkeypatch.setattr(collecting, "LIMIT", len(json.dumps(whole["probes"][:2], separators=(",", ":"))))
    few = collect("pair", [side("softmax"), side("linear")], NOT_MEASURED)
    assert [probe["name"] for probe in few["probes"]] + few["left_out"] == [probe["name"] for probe in whole["probes"]]
    assert "Left out to keep this page small: arithmetic, sequence 1;" in html(few)
    monkeypatch.setattr(collecting, "LIMIT", 10)
    with pytest.raises(UserError, match=r"^pairs\.pair: these models are too large for a page"):
        collect("pair", [side("softmax"), side("linear")], NOT_MEASURED)


def test_roles_are_those_of_the_model_that_was_looked_into(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "seed0/step000000").mkdir(parents=True)
    (run / "seed1").mkdir()
    assert roles.read(tmp_path, run / "seed0") == [], "nobody looked"
    (tmp_path / roles.FILE).write_text("head,layer,label,score,p\n1,0,previous,0.9,0.05\n0,0,,0.1,1\n")
    assert roles.read(tmp_path, run / "seed0") == [
        {"layer": 0, "head": 1, "label": "previous", "p": "0.05", "effect": None},
        {"layer": 0, "head": 0, "label": None, "p": "1", "effect": None},
    ]
    assert roles.read(tmp_path, run / "seed1") == []
    assert roles.read(tmp_path, run / "seed0/step000000") == []


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_it_opens_without_a_network_and_without_complaints(opened: Callable[..., tuple[Any, dict[str, Any]]], left: str, right: str) -> None:
    for width in (1280, 400):
        tab, data = opened(left, right, width)
        assert tab.wrong == tab.said == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
        for index, side in enumerate(data["sides"]):
            shown = tab.locator(f"#side-{index}")
            assert shown.locator(".thumb").count() == side["layers"] * side["heads"]
            if side["without"]:
                assert side["without"] in shown.inner_text()
        tab.asked.clear()


def test_a_head_is_picked_by_click_by_key_and_from_the_table(opened: Callable[..., tuple[Any, dict[str, Any]]]) -> None:
    tab, _ = opened("softmax", "linear")
    left, right = tab.locator("#side-0"), tab.locator("#side-1")

    def picked() -> list[str]:
        return [side.locator(".map h3").inner_text() for side in (left, right)]

    assert picked() == ["Layer 0, head 0"] * 2
    assert left.get_by_role("gridcell", name="layer 1, head 0, previous").count() == 1, "named by its role"
    left.get_by_role("gridcell", name="layer 1, head 1").click()
    assert picked() == ["Layer 1, head 1"] * 2
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowUp")  # there is nothing above
    assert picked() == ["Layer 0, head 0"] * 2
    assert tab.locator(":focus").get_attribute("aria-label") == "layer 0, head 0"
    assert left.locator("[aria-selected=true]").count() == 1
    tab.get_by_label("same head on both sides").uncheck()
    right.get_by_role("gridcell", name="layer 1, head 3").click()
    left.get_by_role("button", name="layer 0, head 1").click()
    assert picked() == ["Layer 0, head 1", "Layer 1, head 3"]
    row = left.get_by_role("row").filter(has=tab.get_by_role("button", name="layer 0, head 1"))
    assert row.locator("td").all_inner_texts() == ["first", "0.1", "not measured"]
    assert right.locator(".roles").inner_text().endswith("Not measured for this checkpoint.")


def test_the_map_tells_the_weights_of_the_model(opened: Callable[..., tuple[Any, dict[str, Any]]], side: Callable[..., Side]) -> None:
    tab, data = opened("softmax", "signed")
    insides = [look(side(run).subject, np.array(data["probes"][2]["ids"])) for run in ("softmax", "signed")]
    tab.get_by_label("Sequence").first.select_option("2")
    tab.locator("#side-0").get_by_role("gridcell", name="layer 1, head 1").click()
    for index, inside in enumerate(insides):
        assert inside.weights is not None
        assert inside.sizes is not None
        side_ = tab.locator(f"#side-{index}")
        side_.locator("[data-query='6'][data-key='2']").hover()
        weight = float(inside.weights[1, 1, 6, 2])
        assert fact(tab, "weight", index) == pytest.approx(weight, abs=1e-4)
        assert fact(tab, "value size", index) == pytest.approx(float(inside.sizes[1, 1, 2]), rel=0.01, abs=1e-4)
        assert fact(tab, "weight \u00d7 size", index) == pytest.approx(abs(weight) * float(inside.sizes[1, 1, 2]), rel=0.05, abs=1e-4)
        assert fact(tab, "sum of the row", index) == pytest.approx(float(inside.weights[1, 1, 6].sum()), abs=1e-3)
        assert "(6) looks at" in side_.locator(".map .said").inner_text()
    tab.locator("#side-0 .map .drawing").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("End")
    assert "(7) looks at" in tab.locator("#side-0 .map .said").inner_text()
    assert fact(tab, "weight") == pytest.approx(float(insides[0].weights[1, 1, 7, 7]), abs=1e-4)  # type: ignore[index]
    assert "signed" in tab.locator("#side-1 .map .legend").inner_text()
    assert "signed" not in tab.locator("#side-0 .map .legend").inner_text()


def test_what_is_shown_can_be_changed(opened: Callable[..., tuple[Any, dict[str, Any]]]) -> None:
    tab, data = opened("softmax", "signed")
    legend = tab.locator("#side-0 .map .legend")
    colours = "[...document.querySelectorAll('#side-0 .cell')].map((cell) => cell.style.fill).join()"
    seen = {tab.evaluate(colours)}
    tab.get_by_label("weights \u00d7 value size").check()
    seen.add(tab.evaluate(colours))
    first = data["probes"][0]["sides"][0]
    effects = [unpacked(first[name]) for name in ("weights", "sizes")]
    keys = np.concatenate([np.arange(query + 1) for query in range(8)])
    assert float(legend.inner_text().split()[-1]) == pytest.approx(float((effects[0] * effects[1][:, keys]).max()), abs=1e-4)
    tab.get_by_label("each row's largest").check()
    seen.add(tab.evaluate(colours))
    assert "the row's largest" in legend.inner_text()
    assert len(seen) == 3, "other colours each time"
    assert "signed" not in tab.locator("#side-1 .map .legend").inner_text(), "a size has no sign"

    before = tab.locator("#sequence").inner_text()
    tab.get_by_label("Sequence").first.select_option("5")
    assert tab.locator("#sequence").inner_text() != before
    assert tab.locator("#sequence span").all_inner_texts() == [data["vocabulary"][token] for token in data["probes"][5]["ids"]]


def test_the_flow_shows_as_many_edges_as_there_are_and_traces_a_token(opened: Callable[..., tuple[Any, dict[str, Any]]]) -> None:
    tab, data = opened("signed", "softmax")
    weights = np.abs(unpacked(data["probes"][0]["sides"][0]["weights"])).reshape(2, 2, -1)
    rows = np.concatenate([np.full(query + 1, query) for query in range(8)])
    sums = np.stack([weights[..., rows == query].sum(-1) for query in range(8)], -1)[..., rows]
    shares = weights / sums
    flow = tab.locator("#side-0 .flow")
    assert flow.locator(".edge").count() == int((shares >= 0.3).sum())
    assert flow.locator(".edge.own").count() == int((shares[0, 0] >= 0.3).sum())
    tab.get_by_label("Edges from").fill("60")
    assert flow.locator(".edge").count() == int((shares >= 0.6).sum())
    assert flow.locator(".said").inner_text().startswith(f"{int((shares >= 0.6).sum())} edges of at least 60 %")
    tab.get_by_label("Edges from").fill("5")
    flow.locator(".drawing").focus()
    tab.keyboard.press("ArrowLeft")
    assert "on the way to" in flow.locator(".said").inner_text()
    traced = flow.locator(".edge").count()
    assert int((shares[1, :, rows == 7] >= 0.05).sum()) <= traced < int((shares >= 0.05).sum())
    tab.keyboard.press("Escape")
    assert flow.locator(".edge").count() == int((shares >= 0.05).sum())


def test_the_logit_lens_lists_what_the_model_computes(opened: Callable[..., tuple[Any, dict[str, Any]]], side: Callable[..., Side]) -> None:
    tab, data = opened("writer", "lstm")
    inside = look(side("writer").subject, np.array(data["probes"][0]["ids"]))
    assert inside.layers is not None
    lens = tab.locator("#side-0 .lens")
    lens.locator("[data-place='3'][data-layer='1']").click()
    tab.keyboard.press("ArrowRight")
    expected = inside.layers[2, 3]
    listed = lens.locator(".said li")
    tokens = [int(item.get_attribute("data-token")) for item in listed.all()]
    assert tokens == np.argsort(-expected, kind="stable")[:5].tolist()
    values = [float(text.split()[-1]) for text in listed.all_inner_texts()]
    assert values == pytest.approx(expected[tokens].tolist(), abs=6e-5)
    asked = data["probes"][0]["asked"][3]
    assert float(lens.locator(".said p").last.inner_text().split()[-1]) == pytest.approx(float(expected[asked]), abs=6e-5)
    assert lens.locator("[data-place='3'][data-layer='2'] small").inner_text().split()[0] == f"{100 * expected.max():.0f}"


def test_layers_are_as_alike_as_they_are(side: Callable[..., Side]) -> None:
    subject = side("softmax").subject
    few = replace(subject, options=replace(subject.options, untrained=2))
    itself, another = likeness(few, few), likeness(few, side("signed").subject)
    assert not isinstance(itself, Skip)
    assert not isinstance(another, Skip)
    assert list(itself) == list(another) == ["embed", "0", "1"]
    for found in itself.values():
        assert found["value"] == pytest.approx(1)
        assert abs(found["permuted"]) < 0.1
        assert found["n"] >= 8
    for found in another.values():
        assert found["low"] <= found["value"] <= found["high"]
        assert found["value"] < 0.99
    page = html(collect("pair", [side("softmax"), side("signed")], another))
    assert f"<td>{another['1']['value']:.3f}</td>" in page
    assert likeness(side("writer").subject, side("lstm").subject) == Skip("lstm has no attention, and no taps inside its layers")
    assert "Not measured: to save time." in html(collect("pair", [side("softmax"), side("signed")], NOT_MEASURED))
