"""The table of docs/size.md leaves no part out, and can be counted anew."""

from tests.documents.blocks import ROOT
from tests.documents.sizes import SUFFIXES, counted, parts


def test_every_part_of_the_project_has_a_row():
    packages = {f"picollm/{path.parent.name}" for path in ROOT.glob("picollm/*/__init__.py")}
    assert parts() == {"picollm", *packages, "stages", "tests", "benchmarks", *SUFFIXES}


def test_a_part_is_counted_by_its_files():
    files, lines = counted("picollm/models")
    paths = list(ROOT.glob("picollm/models/*.py"))
    assert files == len(paths)
    assert lines == sum(len(path.read_text().splitlines()) for path in paths)
