"""The files that a document has its reader write: new ones whole, of params.yaml and the ledger what is added, of others a patch."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.documents.blocks import Block

PARAMS, CLAIMS = "params.yaml", "picollm/report/claims.yaml"
ADDED_TO = (PARAMS, CLAIMS)


def write(block: Block, folder: Path) -> None:
    """Into a checkout. What is added to a file must stand in it already."""
    path = folder / block.file
    if block.language == "diff":
        subprocess.run(["git", "apply", "-"], cwd=folder, input=block.text, text=True, check=True)
    elif block.file in ADDED_TO:
        path.write_text(added(path.read_text(), block.text))
    else:
        assert not path.exists(), f"{block.file} is there already; show what changes as a diff"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)


@cache
def added(text: str, more: str) -> str:
    """YAML with the entries of `more` in it, none of which it has yet."""
    whole, new = YAML(typ="safe").load(text), YAML(typ="safe").load(more)
    _merge(whole, new)
    # As a person would, beside what is there: a round trip through YAML would lose the comments, and DVC reads one section a name.
    lines = text.splitlines()
    for section, entries in new.items():
        place = next((number for number, line in enumerate(lines, 1) if line.startswith(f"{section}:")), None)
        if place is None:
            lines += ["", *_part(more, section)]
        else:
            assert isinstance(entries, dict)
            lines[place:place] = _part(more, section)[1:]
    result = "\n".join(lines) + "\n"
    assert YAML(typ="safe").load(result) == whole
    return result


def _merge(whole: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _merge(whole[key], value)
        else:
            assert key not in whole, f"{key} is there already"
            whole[key] = value


def _part(text: str, section: str) -> list[str]:
    """The lines of one section, its name first."""

    def own() -> Iterator[str]:
        inside = False
        for line in text.splitlines():
            if line[:1] not in ("", " ", "#"):
                inside = line.startswith(f"{section}:")
            if inside:
                yield line

    return list(own())
