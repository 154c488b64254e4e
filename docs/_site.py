"""What the site adds to the folder docs: README.md as its front page, CONTRIBUTING.md and CHANGELOG.md, and a page for every file elsewhere in the
repository that a document links to; and how docstrings become its reference."""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import relpath
from typing import Any

from griffe import Attribute, Docstring, Extension, Object
from properdocs.structure.files import File, Files, InclusionLevel

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}  # file of the repository: page of the site
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".yaml": "yaml"}


def on_files(files: Files, *, config: Any) -> Files:
    """Pages and pictures from outside of docs."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    documents = [(page.removesuffix(".md"), (ROOT / name)) for name, page in PAGES.items()]
    documents += [(path.name, path) for path in DOCS.rglob("*.md")]
    for target in sorted({target for _, path in documents for target in _outside(path)}):
        if (ROOT / target).suffix in LANGUAGES:
            shown = f"# {target}\n\n````{LANGUAGES[(ROOT / target).suffix]}\n{(ROOT / target).read_text(encoding='utf-8')}````\n"
            files.append(File.generated(config, _page(target), content=shown, inclusion=InclusionLevel.NOT_IN_NAV))
        else:
            files.append(File.generated(config, _page(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links between files of the repository as links between pages."""
    sources = {page: name for name, page in PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = Path(page.file.src_uri).parent.as_posix()

    def turned(link: re.Match[str]) -> str:
        target = _target(ROOT / source, link[2])
        return link[0] if target is None else f"{link[1]}{relpath(_page(target), here)}"

    return "".join(part if part.startswith("```") else LINK.sub(turned, part) for part in FENCED.split(markdown))


def _target(document: Path, link: str) -> str | None:
    """The file of the repository that a link leads to; None for an address."""
    return None if re.match(r"[a-z]+:", link) else (document.parent / link).resolve().relative_to(ROOT).as_posix()


def _outside(document: Path) -> Iterator[str]:
    """What a document links to outside of docs, but for what has a page of its own."""
    for _, link in LINK.findall(FENCED.sub("", document.read_text(encoding="utf-8"))):
        target = _target(document, link)
        if target and not target.startswith("docs/") and target not in PAGES:
            yield target


def _page(target: str) -> str:
    """Where on the site a file of the repository stands."""
    if target in PAGES or target.startswith("docs/"):
        return PAGES.get(target, target.removeprefix("docs/"))
    return f"repository/{target}{'.md' if Path(target).suffix in LANGUAGES else ''}"


class Docstrings(Extension):
    """Examples (>>>) as blocks of code, and the comment behind a field as what is said of it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^(>>> .*(?:\n.+)*)", r"```pycon\n\1\n```", obj.docstring.value, flags=re.MULTILINE)
        elif isinstance(obj, Attribute) and obj.lineno and isinstance(obj.filepath, Path):
            _, hash_, comment = obj.lines[0].partition("  # ") if obj.lines else ("", "", "")
            if hash_:
                obj.docstring = Docstring(f"{comment[:1].upper()}{comment[1:]}.", parent=obj)
