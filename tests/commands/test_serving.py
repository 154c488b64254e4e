"""The server of the page: who is answered, what is said of a token, and what is refused in one line of JSON."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import picollm
from picollm.core.files import write_json
from picollm.loaded.model import Loaded
from picollm.serving import answers
from picollm.serving.server import FILES, LARGEST

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}


def ask(server, method="GET", path="/", body=None, headers=None) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(*server.server_address, timeout=30)
    connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode(), headers or {})
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    return response.status, answer, response.headers


def written(server, **request):
    status, answer, headers = ask(server, "POST", "/write", request, JSON)
    assert status == 200, answer
    assert headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.splitlines()]


@pytest.mark.parametrize("path", sorted(FILES))
def test_the_page_comes_with_a_policy_that_lets_nothing_else_in(server, path):
    status, answer, headers = ask(server, path=path)
    assert status == 200
    assert answer
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [line for line in answer.splitlines() if "http://" in line or "https://" in line]


def test_only_this_machine_can_connect(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example:80"}, {"Host": "127.0.0.1"}, {"Host": "localhost:1"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
    ids=lambda headers: " ".join(map(": ".join, headers.items())),
)
def test_another_site_is_not_answered(server, method, headers):
    request = {"run": "writer", "prompt": "The"}
    status, answer, _ = ask(server, method, "/runs" if method == "GET" else "/write", request, {**JSON, **headers})
    assert status == 403
    assert json.loads(answer) == {"error": f"only the page at {server.address} is answered"}


def test_this_page_is_answered_by_either_name(server):
    port = server.server_address[1]
    for name in ("127.0.0.1", "localhost"):
        assert ask(server, path="/runs", headers={"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"})[0] == 200


def test_the_list_says_what_every_run_is(server, study):
    runs = {run["name"]: run for run in json.loads(ask(server, path="/runs")[1])["runs"]}
    assert set(runs) == {"adder", "bytes", "classic_linear", "filter", "short", "teller", "walker", "writer"}
    linear = runs["classic_linear"]
    assert (linear["models"], linear["task"], linear["kind"], linear["heads"], linear["numbers"], linear["refused"]) == (
        2,
        "classic",
        "linear",
        [2, 4],
        True,
        None,
    )
    assert runs["writer"]["heads"] is runs["filter"]["heads"] is None
    assert runs["adder"]["refused"].startswith("adder: answers about the tokens it is given")


def test_the_floor_of_a_task_is_that_of_its_data(server, study):
    assert answers._floor("classic") is None
    write_json(study / "metrics/generate/classic.json", {"floor": {"loss": np.log(2) / 2}})
    write_json(study / "metrics/generate/story.json", {"splits": {"test": {"floor_bits_per_byte": 0.25}}})
    assert answers._floor("classic") == {"bits": pytest.approx(0.5), "of": "term"}
    assert answers._floor("story") == {"bits": 0.25, "of": "byte"}


@pytest.mark.parametrize(("run", "prompt"), [("classic_linear", "3 5 7"), ("teller", "The hare"), ("bytes", "é"), ("teller", "")])
def test_what_is_written_is_what_the_model_writes_and_says_of_it(server, run, prompt):
    first, *middle, last = written(server, run=run, prompt=prompt, length=12, seed=3, sampling={"temperature": 0.8, "top_p": 0.9})
    model = picollm.load(run)
    tokens = list(model.stream(prompt, 12, seed=3, temperature=0.8, top_p=0.9))
    assert [line["token"] for line in middle] == json.loads(json.dumps([token.data() for token in tokens]))
    assert first["between"].join(token["text"] for token in first["prompt"]) == prompt
    assert last["end"]["bits"] == pytest.approx(sum(token.bits for token in tokens))
    assert last["end"]["tokens"] == len(tokens)
    floors = [token.floor_bits for token in tokens]
    if run == "classic_linear":
        assert last["end"]["floor_bits"] == (pytest.approx(sum(floors)) if np.isfinite(sum(floors)) else None)
    else:
        assert last["end"]["floor_bits"] is None


def test_a_story_that_came_to_its_end_has_the_floor_of_its_grammar(study, monkeypatch):
    model = Loaded(study / "data/checkpoints/teller/seed0")
    (*_, last) = (token for token in model.read("The hare ran", "text", end=True))
    monkeypatch.setattr(answers.floors, "of_story", lambda facts, text: 7.0 if text == "The hare ran" else None)
    prompt = model.read("The hare", "text")
    rest = model.read("The hare ran", "text", end=True)[len(prompt) :]
    sums = answers._sums(model, "The hare", prompt, list(rest))
    assert last.ends
    assert (sums["floor_bits"], sums["of"]) == (7.0, "the whole story")
    assert sums["bits"] == pytest.approx(model.score("The hare ran").bits)
    assert answers._sums(model, "The hare", prompt, list(rest[:-1]))["floor_bits"] is None


@pytest.mark.parametrize("run", ["classic_linear", "teller"])
def test_attention_is_that_of_the_models_head(server, run):
    model = picollm.load(run)
    text = "3 5 7 9" if run == "classic_linear" else "The hare"
    ids = [token.id for token in model.read(text, "text")]
    status, answer, _ = ask(server, "POST", "/attention", {"run": run, "ids": ids, "layer": 1, "head": 2}, JSON)
    assert status == 200
    np.testing.assert_allclose(json.loads(answer)["weights"], model.explain(text).attention[1, 2], atol=6e-5)
    assert json.loads(answer)["tokens"] == list(model.explain(text).tokens)


HEAD = {"run": "teller", "ids": [1, 2], "layer": 0, "head": 0}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/write", {"run": "wrtier", "prompt": "The"}, "run: no such run 'wrtier' (did you mean 'writer'? known: "),
        ("/write", {"run": "../../etc", "prompt": "The"}, "run: no such run '../../etc' (known: "),
        ("/write", {"run": "data/checkpoints/writer/seed0", "prompt": "The"}, "run: no such run 'data/checkpoints/writer/seed0'"),
        ("/write", {"run": "writer", "prompt": "The", "model": 3}, "data/checkpoints/writer/seed3: no such model; the run has seed0"),
        ("/write", {"run": "writer", "prompt": ""}, "prompt: is empty; give at least one token"),
        ("/write", {"run": "short", "prompt": "1 " * 14}, "prompt: 13 tokens and 1 new ones exceed the model's longest sequence of 12; shorten either"),
        ("/write", {"run": "writer", "prompt": "The " * 400}, "prompt: 1600 tokens, and 1000 are the most that are read here; shorten it"),
        ("/write", {"run": "writer", "prompt": "Zebra"}, "prompt: chars knows only the training text, which has no 'Z'"),
        ("/write", {"run": "adder", "prompt": "1"}, "adder: answers about the tokens it is given, and does not continue them"),
        ("/write", {"run": "writer", "prompt": "The", "length": 5000}, "request.length: must be from 1 to 1000, not 5000"),
        ("/write", {"run": "writer", "prompt": "The", "seed": -1}, "request.seed: is negative; give 0 or more"),
        ("/write", {"run": "writer", "prompt": "The", "sampling": {"top_p": 3}}, "request.sampling.top_p: must be in (0, 1], not 3"),
        ("/write", {"run": "writer", "prompt": "The", "lenght": 5}, "request.lenght: unknown parameter (did you mean 'length'?"),
        ("/write", {"run": "writer"}, "request.prompt: is missing"),
        ("/write", ["writer"], "request: "),
        ("/attention", {**HEAD, "layer": 2}, "layer: 2 is not from 0 to 1"),
        ("/attention", {**HEAD, "head": -1}, "head: -1 is not from 0 to 3"),
        ("/attention", {**HEAD, "ids": [1, 10**6]}, "ids: 1000000 is not from 0 to "),
        ("/attention", {**HEAD, "ids": [1] * 256}, "ids: 257 tokens; attention is shown of 1 to 256"),
        ("/attention", {**HEAD, "run": "writer"}, "data/checkpoints/writer/seed0: lstm has no attention; explain a transformer"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(server, path, body, message):
    status, answer, headers = ask(server, "POST", path, body, JSON)
    assert (status, headers["Content-Type"], answer.count("\n")) == (400, "application/json", 1)
    assert json.loads(answer)["error"].startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/nothing", None, {}, 404),
        ("GET", "/../params.yaml", None, {}, 404),
        ("GET", "/page.js?x", None, {}, 404),
        ("POST", "/nothing", {}, JSON, 404),
        ("GET", "/write", None, {}, 405),
        ("POST", "/page.css", {}, JSON, 405),
        ("PUT", "/write", {}, JSON, 501),
        ("POST", "/write", {}, {"Content-Type": "text/plain"}, 415),
        ("POST", "/write", {}, {}, 415),
        ("POST", "/write", b"{", JSON, 400),
        ("POST", "/write", b" " * (LARGEST + 1), JSON, 413),
        ("POST", "/write", {}, {**JSON, "Content-Length": "-1"}, 411),
    ],
)
def test_whatever_else_is_asked_has_its_code(server, method, path, body, headers, status):
    found, answer, _ = ask(server, method, path, body, headers)
    assert found == status
    assert set(json.loads(answer)) == {"error"}
    assert ask(server)[0] == 200, "it goes on"


def test_an_error_of_our_own_names_itself_and_leaves_the_server_alive(server, monkeypatch, capsys):
    def broken(self):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(answers.Answers, "runs", broken)
    status, answer, _ = ask(server, path="/runs")
    assert (status, json.loads(answer)) == (500, {"error": "ZeroDivisionError: see the terminal that serves this page"})
    assert "secret" in capsys.readouterr().err
    assert ask(server)[0] == 200


def test_what_goes_wrong_in_the_middle_is_the_last_line(server, monkeypatch):
    def broken(self, *args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(answers, "_sums", broken)
    assert written(server, run="writer", prompt="The", length=2)[-1] == {"error": "ZeroDivisionError: see the terminal that serves this page"}


def test_a_reader_that_leaves_stops_the_writing(server, monkeypatch):
    steps, left = [], threading.Event()
    original = Loaded._tokens

    def counted(self, *args):
        try:
            for token in original(self, *args):
                steps.append(token)
                time.sleep(0.005)
                yield token
        finally:
            left.set()

    monkeypatch.setattr(Loaded, "_tokens", counted)
    with socket.create_connection(server.server_address) as connection:
        body = json.dumps({"run": "classic_linear", "prompt": "3 5", "length": 1000}).encode()
        head = f"POST /write HTTP/1.1\r\nHost: 127.0.0.1:{server.server_address[1]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        received = b""
        while b'{"token"' not in received:
            received += connection.recv(100)
    assert left.wait(30)
    assert len(steps) < 900


def test_models_stay_in_memory_and_make_room(study):
    kept = answers.Answers()
    first = kept._model("writer", 0)
    assert kept._model("writer", 0) is first
    for run in ("teller", "bytes", "walker", "short"):
        kept._model(run, 0)
    assert len(kept.loaded) == answers.KEPT
    assert kept._model("writer", 0) is not first
    config = study / "data/checkpoints/writer/seed0/model.safetensors"
    before = kept._model("writer", 0)
    os.utime(config, ns=(1, config.stat().st_mtime_ns + 1))
    assert kept._model("writer", 0) is not before, "trained again"


def test_the_command_says_where_and_ends_quietly(study):
    command = [sys.executable, "-m", "picollm", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = process.stdout.readline()
        address = said.split()[0]
        port = int(address.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/runs")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "\nended\n", "")


def test_a_port_in_use_is_named(server, command):
    port = server.server_address[1]
    assert command("serve", "--port", str(port), code=1).startswith(f"error: port: {port} cannot be used (Address already in use); choose another with --port")
