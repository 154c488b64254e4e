"""The truth about a story as it is stored beside its text: who is meant, what agrees, what is negated, compared, ordered in time, asked and answered.

A span is [start, end) in characters of the text. A relation has a kind and its parts, each a span, a list of spans, or None where the sentence
leaves it out:

    negation    cue, scope
    agreement   subject, verb, head (the noun that decides), number, attractors (the nouns between of the other number)
    comparison  more and less; or equal, both sides
    time        words, and what they order: earlier and later; or simultaneous, both; or event, the one that they place
    question    question, answer (perhaps of a later sentence)
    ambiguity   phrase, sites (what it may belong to), readings
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from picollm.tasks.text.fables.generate import Sentence, Span, Story
from picollm.tasks.text.fables.grammar import fables

GENDERS = ("hero_gender", "friend_gender", "pair_gender")  # of the characters, by number

Place = tuple[int, int]
Relation = dict[str, Any]


def annotations(story: Story) -> dict[str, Any]:
    """{"sentences", "mentions", "relations", "values", "heldout"} of a story, ready for JSON."""
    return {
        "sentences": [sentence._asdict() for sentence in story.sentences],
        "mentions": list(_chains(story)),
        "relations": list(_relations(story)),
        "values": story.values,
        "heldout": story.heldout,
    }


def _chains(story: Story) -> Iterator[dict[str, Any]]:
    """Every mention, with the number of the one before it of the same character, and how many of others of its gender stand before it."""
    last: dict[int, int] = {}
    met: list[int] = []
    genders = [story.values.get(name) for name in GENDERS]
    for number, mention in enumerate(story.mentions):
        who = mention.character
        distractors = sum(genders[other] == genders[who] for other in met if other != who)
        yield {**mention._asdict(), "antecedent": last.get(who), "distractors": distractors}
        last[who] = number
        met.append(who)


def _relations(story: Story) -> Iterator[Relation]:
    spans = sorted(story.spans, key=lambda span: (span.start, -span.end))
    asked: Place | None = None
    for sentence in story.sentences:
        inside = [span for span in spans if sentence.start <= span.start and span.end <= sentence.end]
        found: dict[str, list[Place]] = {}
        for span in inside:
            found.setdefault(span.label, []).append((span.start, span.end))
        yield from _negations(found)
        yield from _agreements(found, inside)
        yield from _comparisons(found)
        yield from _times(found)
        yield from _ambiguities(found, sentence)
        for start, end, label in inside:
            if label not in ("question", "answer"):
                continue
            place = start, end
            if asked and (label == "question" or place[0] > asked[0]):
                yield {"kind": "question", "question": asked, "answer": place if label == "answer" else None}
                asked = None
            if label == "question":
                asked = place
    if asked:
        yield {"kind": "question", "question": asked, "answer": None}


def _negations(found: dict[str, list[Place]]) -> Iterator[Relation]:
    cues = found.get("cue", [])
    for number, cue in enumerate(cues):
        until = cues[number + 1][0] if number + 1 < len(cues) else None
        scope = (place for place in found.get("scope", []) if place[0] >= cue[1] and (until is None or place[0] < until))
        yield {"kind": "negation", "cue": cue, "scope": next(scope, None)}


def _agreements(found: dict[str, list[Place]], inside: Iterable[Span]) -> Iterator[Relation]:
    for subject, verb in zip(found.get("subject", []), found.get("verb", []), strict=True):
        nouns = [span for span in inside if span.label in ("one", "many") and subject[0] <= span.start and span.end <= subject[1]]
        attractors = [(noun.start, noun.end) for noun in nouns[1:] if noun.label != nouns[0].label]
        number = "singular" if nouns[0].label == "one" else "plural"
        yield {"kind": "agreement", "subject": subject, "verb": verb, "head": nouns[0][:2], "number": number, "attractors": attractors}


def _comparisons(found: dict[str, list[Place]]) -> Iterator[Relation]:
    if "equal" in found:
        yield {"kind": "comparison", "equal": found["equal"]}
    for more, less in zip(found.get("more", []), found.get("less", []), strict=True):
        yield {"kind": "comparison", "more": more, "less": less}


def _times(found: dict[str, list[Place]]) -> Iterator[Relation]:
    words = found.get("time", [])
    if len(words) > 1:  # each places an event of its own
        yield from ({"kind": "time", "words": word, "event": event} for word, event in zip(words, found["event"], strict=True))
    elif words:
        ordered: Relation = {label: found[label][0] for label in ("earlier", "later", "event") if label in found}
        both = {"simultaneous": found["simultaneous"]} if "simultaneous" in found else {}
        yield {"kind": "time", "words": words[0], **ordered, **both}


def _ambiguities(found: dict[str, list[Place]], sentence: Sentence) -> Iterator[Relation]:
    for phrase in found.get("phrase", []):
        yield {"kind": "ambiguity", "phrase": phrase, "sites": found.get("site", []), "readings": _readings()[sentence.template]}


@lru_cache
def _readings() -> dict[str, tuple[str, ...]]:
    return {template.id: template.readings for node in fables().nodes.values() for template in node.templates.options}
