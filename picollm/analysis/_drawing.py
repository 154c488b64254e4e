"""What the figures of this package share: settings, and labels that any token survives."""

from picollm.report.figures import SETTINGS

CHART = {**SETTINGS, "axes.titlesize": 10, "axes.axisbelow": True}
HEATMAP = {**CHART, "axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False, "xtick.major.size": 0, "ytick.major.size": 0}

LONGEST = 13  # characters of a label: <|endoftext|> just fits
_VISIBLE = {" ": "\u00b7", "\n": "\u21b5", "\t": "\u2192", "$": r"\$"}  # "$" would start a formula
_FONT_ENDS = 0x2E00  # beyond it the font that comes with matplotlib has hardly a letter


def label(token: str) -> str:
    """A token's spelling with its blanks visible, short enough for an axis."""
    short = token if len(token) <= LONGEST else token[: LONGEST - 1] + "\u2026"
    return "".join(_VISIBLE.get(c, c if c.isprintable() and ord(c) < _FONT_ENDS else "\ufffd") for c in short)
