"""What the documents point at exists."""

import re
import subprocess

import pytest

from picollm.core.config import read
from tests.documents.blocks import DOCUMENTS, ROOT, links


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    return set(subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"))


def outputs() -> list[str]:
    """Every file and folder that a stage of dvc.yaml makes."""
    params = read(ROOT / "params.yaml")
    found = []
    for stage in read(ROOT / "dvc.yaml")["stages"].values():
        body = stage.get("do", stage)
        keys = params[stage["foreach"].strip("${}")] if "foreach" in stage else [""]
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])):
            path = entry if isinstance(entry, str) else next(iter(entry))
            found += [path.replace("${key}", key) for key in keys]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document, tracked):
    results = any(name.startswith("plots/") for name in tracked)  # committed with a whole study only
    for link in links(document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path = (document.parent / link).resolve().relative_to(ROOT).as_posix()
        if path.startswith("plots/"):
            assert any(path == output or path.startswith(f"{output}/") for output in outputs()), link
        if not path.startswith("plots/") or results:
            assert path in tracked or any(name.startswith(f"{path}/") for name in tracked), link


def test_the_readme_has_links():
    assert {"docs/design.md", "params.yaml", "plots/compare/modular_loss.png"} <= set(links((ROOT / "README.md").read_text()))
