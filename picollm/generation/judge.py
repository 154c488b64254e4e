"""The parser of the fables as a judge of other authors: is this a story of the grammar, what are its bits, and how far does the best reading get?"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    bits: float | None  # -log2 of its probability under the grammar; None: no story
    read: float  # the share of its characters up to the first word that no story goes on with; 1 for a story and for the beginning of one


class _Watched(str):
    """A text that remembers how far its reader came: the parser asks for the words of a story at a place that it has reached."""

    furthest = 0

    def startswith(self, prefix: Any, place: Any = 0, *end: Any) -> bool:
        fits = super().startswith(prefix, place, *end)
        if fits or (len(self) - place < len(prefix) and prefix.startswith(self[place:])):  # a text may end inside a word
            self.furthest = min(len(self), max(self.furthest, place + len(prefix)))
        return fits


def judge(text: str) -> Verdict:
    """Of a whole text, whose end was reached: one that was cut off may be read to its end and be no story."""
    from picollm.tasks.text.fables.parse import log2_probability  # here, for the grammar takes a while to compile

    watched = _Watched(text)
    bits = log2_probability(watched)
    return Verdict(None if bits is None else -bits, watched.furthest / len(text) if text else 0.0)
