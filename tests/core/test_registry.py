"""Names to modules: an entry is a file."""

import importlib
import sys

import pytest

from picollm.core import registry
from picollm.core.errors import UserError


@pytest.mark.parametrize(("package", "entry"), [("models", "transformer"), ("tasks", "numeric"), ("tasks", "text"), ("tokenizers", "chars")])
def test_an_entry_is_the_module_of_its_name(package, entry):
    assert entry in registry.names(package)
    assert registry.load(package, entry, "x.kind") is importlib.import_module(f"picollm.{package}.{entry}")


@pytest.mark.parametrize("package", ["models", "tasks", "tokenizers", "analysis"])
def test_names_are_sorted_and_hide_the_private(package):
    names = registry.names(package)
    assert names == sorted(names) != []
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transfomer", r"^runs\.a\.model\.kind: unknown 'transfomer' \(did you mean 'transformer'\? known: gpt2, "),
        ("../errors", r"^runs\.a\.model\.kind: unknown '\.\./errors'"),
        (None, r"^runs\.a\.model\.kind: unknown None"),
        (["lstm"], r"^runs\.a\.model\.kind: unknown \['lstm'\]"),
        ("", r"^runs\.a\.model\.kind: unknown ''"),
    ],
    ids=str,
)
def test_a_name_that_is_no_entry_is_a_user_error(name, message):
    with pytest.raises(UserError, match=message):
        registry.load("models", name, "runs.a.model.kind")


def test_a_new_file_is_a_new_entry(tmp_path, monkeypatch):
    models = importlib.import_module("picollm.models")
    (tmp_path / "newcomer.py").write_text("Config = 'of the newcomer'\n")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    assert "newcomer" in registry.names("models")
    assert registry.load("models", "newcomer", "x").Config == "of the newcomer"
    del sys.modules["picollm.models.newcomer"], models.newcomer
