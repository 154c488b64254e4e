"""Documents on their way from a source to a split."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PIECE = 1 << 16  # characters of a document in memory at once
SEARCH = 1 << 12  # how far before the end of a piece a place to cut is looked for
BETWEEN_WORDS = re.compile(r"(?<=\S)[ \n](?=\S)")  # one space or line end: every tokenizer starts a token there


@dataclass(frozen=True)
class Document:
    """A text, or the next part of one: `ends` says whether the document ends with it."""

    text: str
    split: str
    ends: bool = True
    bits: float | None = None  # -log2 p of the text and its end, where that is known
    annotations: str | None = None  # JSON


def pieces(blocks: Iterable[str], limit: int = PIECE) -> Iterator[str]:
    """The same text in pieces of at most `limit` characters, cut between words where there are any."""
    rest = ""
    for block in blocks:
        rest += block
        while len(rest) > limit:
            cut = limit
            for place in BETWEEN_WORDS.finditer(rest, max(0, limit - SEARCH), limit):
                cut = place.start()
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def drawn(text: str, shares: dict[str, float], seed: int) -> str:
    """The split of a document by the hash of its text: the same text never lands in two."""
    place = _place(text, f"{seed}\0")
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return "train"


def kept(text: str, share: float, seed: int) -> bool:
    """Is a document among the `share` that is taken? Those of a smaller share are among those of a larger one."""
    return share == 1 or _place(text, f"{seed}\0share\0") < share


def _place(text: str, salt: str) -> float:
    """A number in [0, 1) that the text decides."""
    return int.from_bytes(hashlib.sha256(salt.encode() + text.encode()).digest()[:8]) / 2**64
