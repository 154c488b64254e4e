"""The page to talk to models, in a real Chromium: what it shows is what the model says, and mistakes are told on the page."""

import re
import time

import pytest
from playwright.sync_api import expect

import picollm
from picollm.loaded.model import Loaded
from picollm.loaded.tokens import Token
from picollm.serving import answers

SETTINGS = {"length": "20", "seed": "5", "temperature": "0.8"}


@pytest.fixture
def tab(server, page):
    """The page, with its list of runs."""
    page.set_viewport_size({"width": 1100, "height": 900})
    page.goto(server.address)
    expect(page.locator("#run option")).to_have_count(8)
    yield page
    assert page.wrong == []
    assert [url for url in page.asked if not url.startswith((server.address, "data:"))] == []


def write(tab, run: str, prompt: str, **settings: str) -> None:
    tab.locator("#run").select_option(run)
    tab.locator("#prompt").fill(prompt)
    for name, value in {**SETTINGS, **settings}.items():
        tab.locator(f"#{name}").fill(value)
    tab.get_by_role("button", name="Write").click()


def said(tab) -> str:
    """Once it is written to the end."""
    expect(tab.locator("#sums")).not_to_be_empty()
    return tab.locator("#sums").inner_text()


@pytest.mark.parametrize(("run", "prompt"), [("classic_linear", "3 5 7"), ("teller", "The hare")])
def test_a_text_is_written_with_the_models_probabilities(tab, run, prompt):
    write(tab, run, prompt)
    model = picollm.load(run)
    written = list(model.stream(prompt, 20, seed=5, temperature=0.8))
    tokens = [*model.read(prompt, "prompt"), *written]
    assert f"the model spent {sum(token.bits for token in written):.2f} bits" in said(tab)
    spans = tab.locator("#text span")
    assert [span.text_content() for span in spans.all()] == [token.text for token in tokens]
    for place in (len(tokens) - 1, len(tokens) - 5):
        spans.nth(place).hover()
        shown = tab.locator("#tip")
        expect(shown).to_be_visible()
        percent, bits = re.match(r"([\d.e-]+) %: ([\d.]+) bits", shown.locator("p").inner_text()).groups()
        assert float(percent) == pytest.approx(100 * tokens[place].probability, rel=0.006)
        assert float(bits) == pytest.approx(tokens[place].bits, abs=0.006)
        rows = [row.locator("td").all_inner_texts()[:2] for row in shown.locator("tr").all()]
        assert [text.strip() for text, _ in rows] == [text.strip() for text, _ in tokens[place].likeliest]
        assert [float(value.split()[0]) for _, value in rows] == pytest.approx([100 * p for _, p in tokens[place].likeliest], rel=0.006)
    assert tab.said == [], "nothing in the console"


def test_exact_predictor_and_model_stand_side_by_side(tab):
    """Of a prompt that the task has: what comes after depends on an untrained model."""
    write(tab, "classic_linear", "3 4 5 6", length="1")
    said(tab)
    floors = [token.floor_bits for token in picollm.load("classic_linear").read("3 4 5 6", "prompt")]
    for place, floor in enumerate(floors):
        tab.locator("#text span").nth(place).hover()
        expect(tab.locator("#tip p")).to_contain_text("nothing predicts it" if floor is None else f"exact predictor {floor:.2f}")


def test_a_token_is_told_to_the_keyboard_too(tab):
    write(tab, "teller", "The")
    said(tab)
    tab.locator("#text span").first.focus()
    tab.keyboard.press("Tab")
    expect(tab.locator("#tip")).to_be_visible()
    tab.keyboard.press("Tab")
    token = picollm.load("teller").read("The", "prompt")[2]
    expect(tab.locator("#tip p")).to_contain_text(f"{token.bits:.2f} bits")


def test_a_head_is_drawn_and_told_where_it_is_pointed_at(tab):
    write(tab, "teller", "The hound", length="3")
    said(tab)
    tab.locator("#layer").select_option("1")
    with tab.expect_response("**/attention"):
        tab.locator("#head").select_option("2")
    model = picollm.load("teller")
    tokens = [*model.read("The hound", "prompt"), *model.stream("The hound", 3, seed=5, temperature=0.8)]
    weights = model.attention([model.vocab_size - 1, *(token.id for token in tokens)]).attention[1, 2]
    size = len(weights)
    canvas = tab.locator("#map")
    expect(canvas).to_have_attribute("width", str(size))
    box = canvas.bounding_box()
    for query, key in ((size - 1, 0), (size - 2, 3), (2, 2)):
        canvas.hover(position={"x": (key + 0.5) * box["width"] / size, "y": (query + 0.5) * box["height"] / size})
        expect(tab.locator("#looks")).to_contain_text(f"with {weights[query, key]:.4f}")
    assert tab.said == []


def test_a_model_without_heads_shows_none(tab):
    write(tab, "writer", "The")
    said(tab)
    expect(tab.locator("#inside")).to_be_hidden()


@pytest.mark.parametrize(
    ("run", "prompt", "message"),
    [
        ("classic_linear", "", "prompt: is empty; give at least one token"),
        ("classic_linear", "3 five", "prompt: 'five' is outside the vocabulary; use integers from 0 to 126, separated by spaces"),
        ("short", "1 " * 14, "prompt: 13 tokens and 1 new ones exceed the model's longest sequence of 12; shorten either"),
        ("writer", "The " * 400, "prompt: 1600 tokens, and 1000 are the most that are read here; shorten it"),
        ("adder", "1", "adder: answers about the tokens it is given, and does not continue them; sample a run of another task"),
    ],
)
def test_a_mistake_is_told_on_the_page_and_the_next_text_is_written(tab, run, prompt, message):
    write(tab, run, prompt)
    expect(tab.get_by_role("alert")).to_have_text(message)
    assert tab.locator("#text span").count() == 0
    write(tab, "teller", "The")
    said(tab)
    expect(tab.get_by_role("alert")).to_be_empty()


def test_a_run_that_is_gone_is_told(tab, monkeypatch):
    monkeypatch.setattr(answers, "trained", lambda: ["teller"])
    write(tab, "writer", "The")
    expect(tab.get_by_role("alert")).to_have_text("run: no such run 'writer' (known: teller)")


def test_a_text_can_be_stopped_and_stays(tab, monkeypatch):
    def slow(*_):
        for _ in range(1000):
            time.sleep(0.02)
            yield Token(5, "5", 0.5, (("5", 0.5),))

    monkeypatch.setattr(Loaded, "_tokens", slow)
    write(tab, "classic_linear", "3 5", length="1000")
    expect(tab.locator("#text span").nth(5)).to_be_visible()
    tab.get_by_role("button", name="Stop").click()
    expect(tab.get_by_role("button", name="Stop")).to_be_disabled()
    assert 5 < tab.locator("#text span").count() < 1002
    expect(tab.get_by_role("alert")).to_be_empty()
    expect(tab.locator("#map")).to_be_visible()


def test_a_text_is_text_and_no_markup(tab):
    write(tab, "bytes", "<img src=x onerror=alert(1)>", length="1")
    said(tab)
    assert tab.locator("#text img").count() == 0
    assert "".join(tab.locator("#text .prompt").all_inner_texts()).startswith("<img")


def test_it_fits_on_a_telephone(tab):
    tab.set_viewport_size({"width": 380, "height": 800})
    write(tab, "teller", "The hare")
    said(tab)
    expect(tab.locator("#map")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 380
