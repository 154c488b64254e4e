"""docs/studies.md says of every sweep what it asks."""

import re

from picollm.core.config import read
from tests.documents.blocks import ROOT


def test_every_sweep_has_a_row_and_no_other_has():
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/studies.md").read_text(), re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(read(ROOT / "params.yaml")["sweeps"])
