"""Annotations in characters carried over to tokens: every span becomes the tokens that spell any of it.

A span is [start, end), in characters as in tokens. Tokens are counted in a document without its start token.
"""

from typing import Any

import numpy as np

from picollm.tokenizers._shared import Base

Annotations = dict[str, Any]


class Places:
    """A text and its tokens, side by side."""

    def __init__(self, text: str, spelled: list[bytes]) -> None:
        """`spelled`: what each token spells; together the UTF-8 of the text."""
        assert b"".join(spelled) == text.encode(), "tokens of another text"
        self._byte = np.concatenate(([0], np.cumsum([len(character.encode()) for character in text], dtype=np.int64)))  # where each character begins
        self._ends = np.cumsum([len(token) for token in spelled], dtype=np.int64)  # where each token ends

    def tokens(self, start: int, end: int) -> tuple[int, int]:
        """The tokens that spell the characters [start, end)."""
        first = int(np.searchsorted(self._ends, self._byte[start], "right"))
        return first, max(first, int(np.searchsorted(self._ends, self._byte[end], "left")) + (end > start))


def in_tokens(annotations: Annotations, text: str, tokenizer: Base) -> Annotations:
    """The annotations of a fable (fables/truth.py) with its spans in tokens; a mention also gets its "distance" from its antecedent, first token to first."""
    places = Places(text, tokenizer.spelled(tokenizer.encode(text)))
    moved: Annotations = _moved(annotations, places)
    for mention in moved["mentions"]:
        before = mention["antecedent"]
        mention["distance"] = None if before is None else mention["start"] - moved["mentions"][before]["start"]
    return moved


def _moved(value: Any, places: Places) -> Any:
    if isinstance(value, dict):
        ends = dict(zip(("start", "end"), places.tokens(value["start"], value["end"]), strict=True)) if "start" in value else {}
        return {name: _moved(entry, places) for name, entry in value.items()} | ends
    if isinstance(value, list | tuple):
        whole = len(value) == 2 and all(isinstance(entry, int) for entry in value)
        return list(places.tokens(*value)) if whole else [_moved(entry, places) for entry in value]
    return value
