"""The parser of the fables as a judge of other authors: is this a story of the grammar, what are its bits, and how far does the best reading get?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    bits: float | None  # -log2 of its probability under the grammar; None: no story
    read: float  # the share of its characters up to the first word that no story goes on with; 1 for a story and for the beginning of one


def judge(text: str) -> Verdict:
    """Of a whole text, whose end was reached: one that was cut off may be read to its end and be no story."""
    from picollm.tasks.text.fables.parse import log2_probability, reach  # here, for the grammar takes a while to compile

    bits = log2_probability(text)
    return Verdict(None if bits is None else -bits, reach(text) / len(text) if text else 0.0)
