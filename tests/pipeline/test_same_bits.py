"""Same machine, same parameters, same bits: a second study, elsewhere and from nothing, ends with the same dvc.lock."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def products(checkout) -> dict[str, bytes]:
    """Everything of a study that is committed."""
    files = [checkout.path / "dvc.lock", *(path for folder in ("metrics", "plots") for path in (checkout.path / folder).rglob("*") if path.is_file())]
    return {str(path.relative_to(checkout.path)): path.read_bytes() for path in files}


def test_two_clean_studies_give_the_same_bits(built, laying_out, tmp_path):
    again = laying_out(tmp_path / "again")
    again.run("dvc", "repro")
    mine, theirs = products(built), products(again)
    assert set(mine) == set(theirs)
    assert {name for name in mine if mine[name] != theirs[name]} == set()


@pytest.mark.slow
def test_two_clean_studies_of_the_smoke_budget_give_the_same_bits(laying_out, tmp_path):
    found = []
    for name in ("one", "other"):
        checkout = laying_out(tmp_path / name)
        params = (ROOT / "params.yaml").read_text()
        assert "budget: study" in params
        (checkout.path / "params.yaml").write_text(params.replace("budget: study", "budget: smoke", 1))
        checkout.run("dvc", "repro", timeout=1200)
        found.append(products(checkout))
    assert set(found[0]) == set(found[1])
    assert {name for name in found[0] if found[0][name] != found[1][name]} == set()
