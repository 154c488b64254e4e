"""The site: it is built without a warning, and shows everything without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, ROOT

LOADED = re.compile(r'<(?:script|img|iframe)[^>]* src="([^"]*)"|<link[^>]* rel="(?:stylesheet|icon|shortcut icon|preload)"[^>]* href="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_document_has_a_page(site):
    pages = {"README.md": "index.html", "CONTRIBUTING.md": "contributing.html"}
    for document in DOCUMENTS:
        name = document.relative_to(ROOT).as_posix()
        assert (site / pages.get(name, name.removeprefix("docs/").replace(".md", ".html"))).exists(), name


def test_what_pages_load_lies_beside_them(site):
    for page in site.rglob("*.html"):
        for found in LOADED.findall(page.read_text()):
            link = next(filter(None, found), "")
            assert not re.match(r"(https?:)?//", link), f"{page.name} loads {link}"
    assert not [css for css in site.rglob("*.css") if re.search(r"url\(['\"]?(https?:)?//|@import", css.read_text())]


def test_links_lead_to_what_is_there(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # whose links start from the root of a server
            continue
        for link in re.findall(r'(?:href|src)="([^"#?:]+)(?:[#?][^"]*)?"', page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(site)}: {link}"


def test_the_reference_holds_docstrings_with_their_examples_and_the_comments_of_fields(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference.html").read_text())
    assert "picollm.loaded.model.Loaded" in text
    assert "&gt;&gt;&gt; load(" in text
    assert "Of the likeliest token's probability." in text.replace("&#39;", "'")  # of min_p in Sampling
