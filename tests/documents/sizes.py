"""What docs/size.md counts: `python -m tests.documents.sizes` counts anew. A row's label begins with a folder, or with a name of SUFFIXES."""

import re
import subprocess
from datetime import UTC, datetime
from functools import cache

from tests.documents.blocks import ROOT

SIZE = ROOT / "docs/size.md"
ROW = re.compile(r"^\| (([\w/]+)[^|]*) \| [\d,]+ \| [\d,]+ \|$", re.MULTILINE)
SUFFIXES = {"pages": (".html", ".css", ".js"), "documents": (".md",), "params": ("params.yaml", "dvc.yaml")}  # of files anywhere
RESULTS = ("plots/", "metrics/", "data/shipped/")


@cache
def listed() -> list[str]:
    """All files that git knows."""
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")


def counted(part: str) -> tuple[int, int]:
    """(files, lines) of those that git lists: of a folder its Python files; of picollm those that lie in none of its folders."""
    if part in SUFFIXES:
        chosen = [name for name in listed() if name.endswith(SUFFIXES[part]) and not name.startswith(RESULTS)]
    else:
        chosen = [name for name in listed() if name.startswith(f"{part}/") and name.endswith(".py") and (part != "picollm" or name.count("/") == 1)]
    return len(chosen), sum(len((ROOT / name).read_text().splitlines()) for name in chosen)


def parts() -> set[str]:
    return {part for _, part in ROW.findall(SIZE.read_text())}


def renew() -> None:
    text = ROW.sub(lambda row: "| {} | {:,} | {:,} |".format(row[1], *counted(row[2])), SIZE.read_text())
    SIZE.write_text(re.sub(r"Counted on \d+ \w+ \d+", f"Counted on {datetime.now(UTC):%-d %B %Y}", text))


if __name__ == "__main__":
    renew()
