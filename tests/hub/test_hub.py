"""A shared model is the model: from a folder, from a server that speaks as the Hub does, and with a card that says no more than was measured."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

import picollm
from picollm import models
from picollm.core.errors import UserError
from picollm.core.files import write_json
from picollm.core.statistics import proportion
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.hub import SharedModel, share
from picollm.tasks import addition
from picollm.training.checkpoints import save_model

TASK = addition.Config(kind="addition", train=4, validation=4, test=4, long=4, digits=[1, 2])
BLOCK = {"kind": "transformer", "n_layer": 1, "n_head": 2, "d_model": 8}
IDS = torch.randint(0, 12, (3, 9), generator=torch.Generator().manual_seed(0))
MARK = "0123456789abcdef"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    tokenizer = {"kind": "integers", "pad": 11, "addition": asdict(TASK)}
    facts = {"model": BLOCK, "tokenizer": tokenizer, "fingerprint": MARK, "targets": True, "whole": False, "run": "tiny", "seed": 1, "task": "sums"}
    facts |= {"kind": "addition", "training": {"steps": 1234, "lr": 0.125, "epochs": None}}
    folder = tmp_path / "data" / "checkpoints" / "tiny" / "seed1"
    save_model(folder, models.build(BLOCK, 12, "model"), facts)
    return folder


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("config.json", "model.safetensors"))


def test_a_saved_folder_is_a_checkpoint_and_the_other_way_round(checkpoint: Path, tmp_path: Path) -> None:
    model = SharedModel.from_pretrained(checkpoint)
    model.save_pretrained(tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert same(checkpoint, tmp_path / "shared")
    expected = picollm.load(checkpoint)(IDS)
    assert torch.equal(picollm.load(tmp_path / "shared")(IDS), expected)
    assert torch.equal(SharedModel.from_pretrained(tmp_path / "shared")(IDS), expected)
    assert not SharedModel.from_pretrained(tmp_path / "shared").training
    again = SharedModel.from_pretrained(tmp_path / "shared")
    again.save_pretrained(tmp_path / "again")
    assert same(checkpoint, tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_bytes() == (tmp_path / "shared" / "README.md").read_bytes()


def test_a_model_goes_to_the_hub_and_comes_back(checkpoint: Path, tmp_path: Path, hub: Any) -> None:
    url = share(checkpoint, tmp_path / "shared", "user/tiny", private=True)
    assert url.startswith(f"{hub.endpoint}/user/tiny/commit/")
    assert hub.private == {"user/tiny"}
    files = hub.repositories["user/tiny"]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert all(content == (tmp_path / "shared" / name).read_bytes() for name, content in files.items())
    assert list(hub.objects.values()) == [files["model.safetensors"]]  # by the way of large files
    back = SharedModel.from_pretrained("user/tiny")
    assert torch.equal(back(IDS), picollm.load(checkpoint)(IDS))
    assert back.about == SharedModel.from_pretrained(checkpoint).about
    assert not [asked for asked in hub.unknown if "tiny" in asked]
    assert set(hub.tokens) == {"Bearer " + os.environ["HF_TOKEN"]}


def test_the_command_shares(checkpoint: Path, tmp_path: Path, hub: Any) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "picollm", "share", "tiny", "out", "--model-seed", "1", "--push", "user/tiny"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{hub.endpoint}/user/tiny/commit/")
    assert same(checkpoint, tmp_path / "out")
    assert hub.repositories["user/tiny"]["README.md"] == (tmp_path / "out" / "README.md").read_bytes()
    del environment["HF_TOKEN"]
    command[5] = "more"
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert refused.stderr == "error: HF_TOKEN: is not set, and nobody is logged in; set it to a token with write access, or run `hf auth login`\n"
    assert not (tmp_path / "more").exists()


def test_what_the_hub_refuses_is_said_in_one_line(checkpoint: Path, tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^user/absent: the Hub cannot be reached or refuses \(.*\); check the network, HF_ENDPOINT, the name"):
        SharedModel.from_pretrained("user/absent")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(UserError, match=r"out: is there already; name a new folder"):
        share(checkpoint, tmp_path / "out", "user/tiny")
    with pytest.raises(UserError, match=r"^a b: is no name of a repository; give one such as user/adder"):
        share(checkpoint, tmp_path / "first", "a b")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"^user/tiny: the Hub cannot be reached or refuses \(.*401.*\)"):
        share(checkpoint, tmp_path / "second", "user/tiny")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(UserError, match=r"^user/tiny: the Hub cannot be reached or refuses"):
        share(checkpoint, tmp_path / "third", "user/tiny")
    assert hub.repositories == {}


def measured(root: Path, fingerprint: str = MARK, holds: bool = True) -> None:
    """What the stages would have left."""
    exact = {"mean": 0.75, **proportion(3, 4)}
    split = {"loss": 0.5, "accuracy": 0.9, "floor": 0.0, "excess": 0.5, "exact": exact}
    proof = {"kind": "certificate", "cases": 3025, "pairs": 10000, "failures": 0 if holds else 7, "margin": 0.25, "rounding": 1e-5, "holds": float(holds)}
    own = {"test": split, "lengths": {"2": {"exact": exact}, "3": {"exact": proportion(1, 4)}}, "proof": proof, "strata": {"exact": 0.875}}
    other = json.loads(json.dumps(own))
    other["test"]["loss"] = 0.7
    summary = {
        "exact": {"mean": 0.75, "n": 2, "low": 0.5, "high": 1.0},
        "test_loss": {"mean": 0.6, "n": 2, "low": 0.1, "high": 1.1},
        "floor": {"mean": 0.0, "n": 2},
    }
    write_json(root / "metrics/train/tiny.json", {"fingerprints": {"0": MARK, "1": fingerprint}, "steps": 1234, "tokens": 99000, "budget": "smoke"})
    write_json(root / "metrics/evaluate/tiny.json", {"kind": "addition", "seeds": {"0": other, "1": own}, "summary": summary})
    ids = np.arange(10)
    splits = {"train": write_split(root / "data/tokens/sums", "train", [ids], 12)}
    write_header(root / "data/tokens/sums", kind="addition", vocab_size=12, tokenizer={}, splits=splits)


def card(checkpoint: Path, root: Path) -> ModelCard:
    shared = SharedModel.from_pretrained(checkpoint)
    shared.root = root
    return ModelCard(str(shared.generate_model_card()))


def test_the_card_says_what_was_measured(checkpoint: Path, tmp_path: Path) -> None:
    measured(tmp_path)
    found = card(checkpoint, tmp_path)
    assert (found.data.license, found.data.library_name, found.data.tags) == ("mit", "picollm", ["picollm", "addition", "transformer"])
    assert found.data.model_name == "tiny, seed 1"
    assert {result.metric_type: result.metric_value for result in found.data.eval_results} == {"exact": 0.75, "test_loss": 0.6}
    assert open_tokens(tmp_path / "data/tokens/sums").digest in found.text
    assert "| test loss | 0.5000 | 0.6000 | [0.1000, 1.100] | 2 | 0 |" in found.text
    assert "Of this model's, 3 of 4 held-out sums are right" in found.text
    assert "| `training.lr` | 0.125 |" in found.text
    assert "| `training.steps` | 1234 |" in found.text
    assert "training.epochs" not in found.text, "what does not apply"
    assert "1,234 steps, 99,000 tokens, budget `smoke`" in found.text
    assert MARK in found.text
    assert "Certificate: 3,025 cases that decide all 10,000 ordered pairs, 0 failures, smallest margin of a right token 0.2500 logits" in found.text
    assert "It holds." in found.text
    assert "- Trained on 2 numbers of 1 to 2 digits of base 10.\n- Numbers of 3 digits: 1 of 4 sums right." in found.text
    assert f"{models.build(BLOCK, 12, 'model').n_parameters:,} parameters" in found.text


def test_a_proof_that_does_not_hold_is_said_to_fail(checkpoint: Path, tmp_path: Path) -> None:
    measured(tmp_path, holds=False)
    text = card(checkpoint, tmp_path).text
    assert "7 failures" in text
    assert "**It does not hold**" in text
    assert "It holds." not in text


def test_the_card_claims_nothing_of_another_training(checkpoint: Path, tmp_path: Path) -> None:
    bare = card(checkpoint, tmp_path)
    measured(tmp_path, fingerprint="another")
    for found in (bare, card(checkpoint, tmp_path)):
        assert "Not measured, or not of this very training." in found.text
        assert "no metrics of this very training" in found.text
        assert "None: all pairs were not gone through" in found.text
        assert "| `training.lr` | 0.125 |" in found.text, "it stands beside the weights"
        assert "1,234 steps" not in found.text
        assert found.data.eval_results is None


def test_importing_picollm_does_not_import_what_sharing_needs() -> None:
    code = "import sys, picollm, picollm.cli; sys.exit(any(name in sys.modules for name in ('torch', 'huggingface_hub', 'httpx2')))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path.cwd())}).returncode == 0
