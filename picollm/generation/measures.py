"""What texts look like without reading them: diversity and repetition, over token ids. docs/sampling.md says what each can tell.

Deterministic; None where a measure is not defined.
"""

from collections import Counter
from collections.abc import Sequence
from math import exp, fsum, log

Ids = Sequence[int]
BLEU = 4  # the longest n-gram that BLEU compares


def ngrams(ids: Ids, n: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start : start + n]) for start in range(len(ids) - n + 1)]


def distinct(texts: Sequence[Ids], n: int) -> float | None:
    """Different n-grams over all n-grams, of all texts together (Li et al. 2016, arXiv 1510.03055)."""
    every = [ngram for text in texts for ngram in ngrams(text, n)]
    return len(set(every)) / len(every) if every else None


def repetition(texts: Sequence[Ids], n: int = 4) -> float | None:
    """The share of a text's n-grams that it has said before, mean over texts (Welleck et al. 2020, arXiv 1908.04319)."""
    shares = [1 - len(set(own)) / len(own) for text in texts if (own := ngrams(text, n))]
    return fsum(shares) / len(shares) if shares else None


def self_bleu(texts: Sequence[Ids]) -> float | None:
    """BLEU-4 (Papineni et al. 2002) of each text against all others, mean (Zhu et al. 2018, arXiv 1802.01886): 1 when all are the same.

    Not smoothed: a text that shares no n-gram of some length with the others has 0.
    """
    if len(texts) < 2:
        return None
    # How often an n-gram may match is its largest count in another text: of all texts the two largest are enough to know it.
    own = [[Counter(ngrams(text, n)) for n in range(1, BLEU + 1)] for text in texts]
    most: dict[tuple[int, ...], tuple[int, int]] = {}
    for counts in own:
        for ngram, count in (item for counter in counts for item in counter.items()):
            first, second = most.get(ngram, (0, 0))
            most[ngram] = (max(first, count), max(second, min(first, count)))
    lengths = Counter(map(len, texts))
    return fsum(_bleu(counts, len(text), lengths, most) for counts, text in zip(own, texts, strict=True)) / len(texts)


def _bleu(own: list[Counter[tuple[int, ...]]], length: int, lengths: Counter[int], most: dict[tuple[int, ...], tuple[int, int]]) -> float:
    logs = []
    for counts in own:
        matched = sum(min(count, most[ngram][most[ngram][0] == count]) for ngram, count in counts.items())
        if not matched:
            return 0.0
        logs.append(log(matched / counts.total()))
    closest = min((other for other in lengths if other != length or lengths[other] > 1), key=lambda other: (abs(other - length), other))
    brevity = min(0.0, 1 - closest / length)
    return exp(fsum(logs) / BLEU + brevity)
