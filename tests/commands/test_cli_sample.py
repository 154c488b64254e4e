"""`sample` on a terminal, in a pipe, as JSON, and as a conversation."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

import picollm
from picollm.commands.sample import until

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def on_a_terminal(*words: str, typed: tuple[str, ...] = ()) -> str:
    """What a person sees who types the command, and one of `typed` whenever asked; a terminal's line ends become plain ones."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "picollm", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT) as process:
        os.close(theirs)
        shown, asked, end = b"", 0, time.monotonic() + 60
        while select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side has closed
                break
            if shown.count(b"> ") > asked and asked < len(typed):
                os.write(ours, typed[asked].encode())
                asked += 1
        else:
            process.kill()
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode().replace("\r\n", "\n")


@example(["a", "b", "a"], ["b", "aba"])  # the second begins before the first, and ends after it
@given(st.lists(st.text("ab", max_size=4), max_size=8), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_pieces_end_before_the_first_stop_wherever_it_is_cut(pieces, stop):
    whole = "".join(pieces)
    places = [place for text in stop if (place := whole.find(text)) >= 0]
    assert "".join(until(pieces, stop)) == whole[: min(places, default=len(whole))]


def test_nothing_is_held_back_longer_than_needed():
    shown = []
    pieces = until((shown.append(piece) or piece for piece in ["ab", "c", "xy", "z"]), ["xyz"])
    assert [next(pieces), list(shown)] == ["ab", ["ab"]]
    assert [next(pieces), list(shown)] == ["c", ["ab", "c"]]
    assert "".join(pieces) == ""


def test_a_terminal_shows_what_a_pipe_gets(study, command):
    words = ["sample", "teller", "--prompt", "The hare", "--length", "20", "--samples", "2", "--temperature", "0.7"]
    piped = command(*words)
    assert on_a_terminal(*words) == piped
    assert piped.count("\n") >= 2


def test_json_has_a_text_and_its_tokens_for_every_seed(study, command):
    lines = command("sample", "classic_linear", "--prompt", "3 5", "--length", "4", "--samples", "2", "--seed", "7", "--json").splitlines()
    model = picollm.load("classic_linear")
    for seed, line in zip((7, 8), lines, strict=True):
        found = json.loads(line)
        assert found["text"] == model.generate("3 5", 4, seed=seed)
        assert (found["prompt"], found["seed"]) == ("3 5", seed)
        assert [token["text"] for token in found["tokens"] if not token["ends"]] == found["text"].split()
        assert all(0 < token["probability"] <= 1 and token["likeliest"][0][1] >= token["probability"] for token in found["tokens"])


def test_json_text_ends_before_a_stop(study, command):
    (free,) = command("sample", "teller", "--prompt", "The", "--length", "20", "--json").splitlines()
    text = json.loads(free)["text"]
    (cut,) = command("sample", "teller", "--prompt", "The", "--length", "20", "--json", "--stop", text[4:7]).splitlines()
    assert json.loads(cut)["text"] == text[: text.index(text[4:7])]


def test_a_conversation_goes_on_after_a_mistake_and_ends_with_the_input(study, monkeypatch, command, capsys):
    said = iter(["3 5", "3 boo", "3 5"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said, None) or (_ for _ in ()).throw(EOFError))
    words = ["sample", "classic_linear", "--interactive", "--length", "6"]
    first, second, rest = command(*words).split("\n", 2)
    model = picollm.load("classic_linear")
    assert first == "3 5 " + model.generate("3 5", 6, seed=0)
    assert second == "3 5 " + model.generate("3 5", 6, seed=2), "another seed for every prompt"
    assert not rest.strip()


def test_a_conversation_on_a_terminal(study):
    shown = on_a_terminal("sample", "classic_linear", "--interactive", "--length", "6", typed=("3 5\n", "3 200\n", "\x04"))
    assert "3 5 " + picollm.load("classic_linear").generate("3 5", 6) in shown
    assert "error: prompt: '200' is outside the vocabulary; use integers from 0 to 126, separated by spaces" in shown


def test_without_a_prompt_nothing_is_asked(study, command):
    assert command("sample", "writer", code=1) == "error: Missing option '--prompt'; see python -m picollm --help\n"
