"""How much of a text stands word for word in the training data: exact, by one pass over the training tokens.

A suffix automaton (Blumer et al. 1985) of the few generated texts reads the many training tokens: in every state it remembers the
longest match that training reached there. Memory grows with the texts, not with the training data, which stay on the disk.
"""

from collections.abc import Iterable, Sequence

import numpy as np

CHUNK = 1 << 16  # training tokens in memory at once


class Copies:
    """`runs[text][token]`: the longest run ending there that the training data hold, in tokens."""

    def __init__(self, runs: list[list[int]]) -> None:
        self.runs = runs

    def of(self, start: int, end: int) -> "Copies":
        """Those of the texts start .. end - 1."""
        return Copies(self.runs[start:end])

    def longest(self) -> list[int]:
        """The longest verbatim run of each text."""
        return [max(own, default=0) for own in self.runs]

    def share(self, n: int) -> float | None:
        """The share of all n-grams that the training data hold; None where the texts have none."""
        ends = [run for own in self.runs for run in own[n - 1 :]]
        return sum(run >= n for run in ends) / len(ends) if ends else None


def copies(texts: Sequence[Sequence[int]], training: np.ndarray) -> Copies:
    """training: (N,) ids, perhaps a memory map."""
    automaton = _Automaton()
    places: list[list[int]] = []
    last = 0
    for number, text in enumerate(texts):
        places.append([])
        for token in text:
            last = automaton.extend(last, token)
            places[-1].append(last)
        last = automaton.extend(last, -1 - number)  # no training token: no match reaches from one text into the next
    longest = automaton.read(training[start : start + CHUNK].tolist() for start in range(0, len(training), CHUNK))
    return Copies([[longest[place] for place in own] for own in places])


class _Automaton:
    """A state stands for strings that end in the same places of the texts, suffixes of one another: the longest has `size` tokens,
    the shortest one more than the longest of its `link`, where the shorter suffixes are."""

    def __init__(self) -> None:
        self.following: list[dict[int, int]] = [{}]
        self.link, self.size = [-1], [0]

    def extend(self, last: int, token: int) -> int:
        """The state of everything so far with `token` behind it: the textbook construction."""
        following, link, size = self.following, self.link, self.size
        state = len(size)
        following.append({})
        size.append(size[last] + 1)
        link.append(0)
        at = last
        while at >= 0 and token not in following[at]:
            following[at][token] = state
            at = link[at]
        if at < 0:
            return state
        target = following[at][token]
        if size[at] + 1 == size[target]:
            link[state] = target
            return state
        clone = len(size)  # the shorter strings of `target` end in more places from now on
        following.append(dict(following[target]))
        size.append(size[at] + 1)
        link.append(link[target])
        while at >= 0 and following[at].get(token) == target:
            following[at][token] = clone
            at = link[at]
        link[target] = link[state] = clone
        return state

    def read(self, chunks: Iterable[list[int]]) -> list[int]:
        """For each state, the longest of its strings and their suffixes that the chunks, put together, hold."""
        following, link, size = self.following, self.link, self.size
        longest = [0] * len(size)
        state = length = 0
        for chunk in chunks:
            for token in chunk:
                target = following[state].get(token)
                while target is None and state:
                    state = link[state]
                    length = size[state]
                    target = following[state].get(token)
                if target is None:
                    continue
                state = target
                length += 1
                if length > longest[state]:
                    longest[state] = length
        for deeper in sorted(range(1, len(size)), key=size.__getitem__, reverse=True):  # a match holds its suffixes whole
            if longest[deeper]:
                longest[link[deeper]] = size[link[deeper]]
        for deeper in sorted(range(1, len(size)), key=size.__getitem__):
            longest[deeper] = max(longest[deeper], longest[link[deeper]])
        return longest
