"""The champion of a task: what the registry has of it, and that it says what the library says, wherever it is loaded."""

import json
import os
import shutil
import socket
import subprocess
import sys
from urllib.error import URLError
from urllib.request import Request, urlopen

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

import picollm
from picollm import tracking
from picollm.evaluation._addition import adder
from picollm.tasks.addition.bases import value_of
from picollm.tracking.champions import LIBRARIES
from tests.tracking.conftest import wait_for

OPTIONS = {"length": 12, "seed": 3, "temperature": 1.2, "top_k": 5}
PROMPTS = {"numbers": ["3 5 7", "1"], "story": ["The hare", "hill"]}


def champion(task: str):
    tracking.mend()
    return mlflow.pyfunc.load_model(f"models:/{task}@champion")


def versions(client, task: str) -> dict[str, str]:
    return {str(version.version): version.tags["picollm.fingerprint"] for version in client.search_model_versions(f"name = '{task}'")}


def test_the_registry_says_what_it_is(checkout):
    found = checkout.client.get_model_version_by_alias("numbers", "champion")
    assert found.tags == {"picollm.fingerprint": "mark-0", "picollm.run": "numbers"}
    assert (found.status, found.description) == ("READY", "numbers, untrained")
    assert found.run_id == tracking.find("mark-0", "train-seed"), "its parameters and curves are a click away"
    assert checkout.client.get_model_version_by_alias("story", "champion").run_id == found.run_id


def test_the_same_training_is_registered_once_and_an_old_one_can_come_back(checkout):
    new = checkout.checkpoint("numbers", seed=1)

    def register(mark: str) -> bool:
        return tracking.register("numbers", mark, new, {}, "")

    assert not register("mark-0")
    assert versions(checkout.client, "numbers") == {"1": "mark-0"}
    assert register("mark-1")
    assert not register("mark-1")
    assert versions(checkout.client, "numbers") == {"1": "mark-0", "2": "mark-1"}
    assert checkout.client.get_model_version_by_alias("numbers", "champion").version in (2, "2")
    shutil.rmtree(new)  # what is registered needs no checkpoint
    assert register("mark-0")
    assert checkout.client.get_model_version_by_alias("numbers", "champion").version in (1, "1")
    assert len(versions(checkout.client, "numbers")) == 2


@pytest.mark.parametrize("task", sorted(PROMPTS))
def test_it_writes_what_the_library_writes(checkout, task):
    served, model = champion(task), picollm.load(checkout.path / f"data/checkpoints/{task}/seed0")
    expected = [model.generate(prompt, **OPTIONS) for prompt in PROMPTS[task]]
    assert served.predict(PROMPTS[task], OPTIONS) == expected
    assert served.predict(pd.DataFrame({"whatever": PROMPTS[task]}), OPTIONS) == expected
    assert served.predict(PROMPTS[task][0], {"seed": 1}) == [model.generate(PROMPTS[task][0], seed=1)], "the defaults are those of the library"
    stop = expected[0].split()[0][-1] if task == "story" else expected[0].split()[2]
    assert served.predict(PROMPTS[task], {**OPTIONS, "stop": [stop]}) == [model.generate(prompt, stop=[stop], **OPTIONS) for prompt in PROMPTS[task]]


@pytest.mark.parametrize("task", sorted(PROMPTS))
def test_scores_are_the_probabilities_of_the_next_token(checkout, task):
    served, model = champion(task), picollm.load(checkout.path / f"data/checkpoints/{task}/seed0")
    prompt = PROMPTS[task][0]
    (found,) = served.predict([prompt], {"scores": True})
    assert len(found) == model.vocab_size
    assert sum(one["probability"] for one in found) == pytest.approx(1)
    first = next(model.stream(prompt, 1, temperature=0))
    assert [(one["token"], pytest.approx(one["probability"], rel=1e-5)) for one in found[:8]] == list(first.likeliest)
    (few,) = served.predict([prompt], {"scores": True, "top_k": 3, "temperature": 0.5})
    squares = [one["probability"] ** 2 for one in found[:3]]
    assert [one["probability"] for one in few] == pytest.approx([square / sum(squares) for square in squares], rel=1e-4)


def test_an_adder_answers_sums(checkout):
    model, task = adder.load(checkout.path / "data/checkpoints/sums/seed0")
    expected = [adder.answer(model, task, adder.operands(task, words, 10)).digits for words in (["13", "8"], ["9", "9"])]
    assert champion("sums").predict(["13+8", "9+9"]) == [str(value_of(digits, 10)) for digits in expected]


@pytest.mark.parametrize(
    ("task", "prompt", "options", "message"),
    [
        ("numbers", "3 x", {}, "prompt: 'x' is outside the vocabulary"),
        ("numbers", "3", {"temperature": -1.0}, "temperature: must be 0"),
        ("story", "Zebra", {}, "prompt: .*Z"),
        ("sums", "1342", {}, "operands: 1 numbers, but the model was trained to add 2"),
        ("sums", "13+8", {"scores": True}, "answers about the tokens"),
    ],
)
def test_what_it_cannot_take_is_said_in_one_line(checkout, task, prompt, options, message):
    with pytest.raises(MlflowException, match=message) as caught:
        champion(task).predict([prompt], options)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "\n" not in str(caught.value)


def test_a_version_holds_all_that_it_needs_and_nothing_pickled(checkout):
    tracking.mend()
    folder = mlflow.artifacts.download_artifacts("models:/numbers@champion", dst_path=checkout.path / "downloaded")
    files = {path.relative_to(folder).as_posix() for path in (checkout.path / "downloaded").rglob("*") if path.is_file()}
    assert {"champion.py", "artifacts/checkpoint/model.safetensors", "artifacts/checkpoint/config.json", "code/picollm/loaded/model.py"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pyc", ".pt", ".bin")) or "snapshots" in name]
    requirements = (checkout.path / "downloaded/requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == list(LIBRARIES)
    assert "+" not in "".join(requirements), "an index has no local versions"


LOADED = """
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
before = set(sys.modules)
print(mlflow.pyfunc.load_model("models:/numbers@champion").predict(["3 5 7"], {"length": 12, "seed": 3})[0])
import picollm
print(picollm.__file__)
mlflow.pyfunc.load_model("models:/sums@champion").predict(["13+8"])
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


@pytest.mark.slow  # a process that imports everything anew
def test_it_is_loaded_without_the_checkout_and_needs_what_it_says(checkout, tmp_path):
    tracking.mend()
    (tmp_path / "else").mkdir()
    (tmp_path / "else/load.py").write_text(LOADED)
    clean = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "PYTHONPATH")}
    command = [sys.executable, "load.py", tracking.store_uri()]
    text, file, brought = subprocess.run(command, cwd=tmp_path / "else", env=clean, capture_output=True, text=True, check=True).stdout.splitlines()
    assert text == picollm.load(checkout.path / "data/checkpoints/numbers/seed0").generate("3 5 7", length=12, seed=3)
    assert file.startswith(str(checkout.path / "mlruns")), "the code of its time"
    names = {"ruamel": "ruamel.yaml"}
    ours = {"datasets", "dvc", "filelock", "httpx2", "huggingface_hub", "jinja2", "matplotlib", "pyarrow", "ruamel", "safetensors", "scipy", "tokenizers"}
    assert {names.get(name, name) for name in ours & set(brought.split())} - {"pyarrow"} <= set(LIBRARIES)  # which mlflow brings


@pytest.mark.slow  # MLflow's server takes seconds to start
def test_mlflow_serves_it(checkout):
    tracking.mend()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/numbers@champion", "--env-manager", "local", "--port", str(port)]
    log = checkout.path / "server.log"
    environment = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}  # as in any checkout
    with open(log, "w") as out:
        server = subprocess.Popen([*command, "--host", "127.0.0.1"], cwd=checkout.path, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, log)
        model = picollm.load(checkout.path / "data/checkpoints/numbers/seed0")
        expected = [model.generate(prompt, **OPTIONS) for prompt in PROMPTS["numbers"]]
        address = f"http://127.0.0.1:{port}/invocations"
        assert post(address, {"inputs": PROMPTS["numbers"], "params": OPTIONS}) == (200, {"predictions": expected})
        split = {"columns": ["prompt"], "data": [[prompt] for prompt in PROMPTS["numbers"]]}
        assert post(address, {"dataframe_split": split, "params": OPTIONS}) == (200, {"predictions": expected})
        code, answer = post(address, {"inputs": PROMPTS["numbers"][:1], "params": {"scores": True, "top_k": 2}})
        assert code == 200
        assert [set(one) for one in answer["predictions"][0]] == [{"token", "probability"}] * 2
        code, answer = post(address, {"inputs": ["3 x"]})
        assert code == 400
        assert "prompt: 'x' is outside the vocabulary" in answer["message"]
    finally:
        os.killpg(server.pid, 15)  # its workers too
        server.wait(60)


def post(address: str, body: dict) -> tuple[int, dict]:
    request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except URLError as error:
        return error.code, json.load(error)
