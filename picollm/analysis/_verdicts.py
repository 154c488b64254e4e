"""What may be said of a number: only what its nulls leave."""

from picollm.analysis._result import Claim, Estimate


def side(found: Estimate, null: str) -> str | None:
    """ "above" or "below" the range of the null, None within it."""
    if found["value"] > found[f"{null}_high"]:
        return "above"
    return "below" if found["value"] < found[f"{null}_low"] else None


def against(sentence: str, name: str, found: Estimate, null: str, who: str) -> Claim:
    """The sentence, the number with its interval, and where it stands to a null: `who` gives that, as in "untrained models"."""
    where = side(found, null)
    verdict = f"{where} what {who} give" if where else f"no more than what {who} give: tested, not found"
    return Claim(f"{sentence} is {{{name}:value}} ({{{name}:low}} to {{{name}:high}}), {verdict} ({{{name}:{null}_low}} to {{{name}:{null}_high}}).")
