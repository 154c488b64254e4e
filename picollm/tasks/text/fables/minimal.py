"""Minimal pairs: the beginning of a story up to the end of a sentence, and the same with one small thing wrong in that sentence.

What is wrong is wrong by the grammar, which begins no story so: the parser says it. In the sense of Warstadt et al. 2020 (BLiMP, arXiv 1912.00582).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache

from picollm.tasks.text.fables import inflect
from picollm.tasks.text.fables.generate import Sentence, Story
from picollm.tasks.text.fables.grammar import CATEGORIES, FILES, FOLDER, fables
from picollm.tasks.text.fables.parse import reach
from picollm.tasks.text.fables.splits import told

BLOCK = 256  # stories looked at in one go

SWAPPED = {"he": "she", "she": "he", "him": "her", "his": "her", "it": "he", "its": "his", "himself": "herself", "herself": "himself", "itself": "himself"}
NUMBERS = {"was": "were", "were": "was", "is": "are", "are": "is", "has": "have"}
NEGATIONS = {"not": "now", "cannot": "can", "never": "ever", "nobody": "everybody", "nothing": "everything", "no": "some", "without": "with"}
COMPARED = {"than": "as", "as": "than"}
VERB = "am|are|is|was|were|can|could|will|would|shall|should|do|does|did|have|has|had|may"
ASKED = re.compile(rf"\b({VERB}) (I|you|we|it|one|your \w+|the \w+)\b", re.IGNORECASE)
TURNED = re.compile(
    r"\b(who|which|that|because|although|whether|how|why|what|with|near|from|by|on|before|after|when|while|until|for|in) (\w+)\b", re.IGNORECASE
)

Change = Callable[[Story, Sentence], Iterator[str]]  # the sentence, spoilt in each way there is


def pairs(seed: int, start: int, each: int) -> list[dict[str, str]]:
    """`each` pairs of every category: {"category", "change", "right", "wrong"}. Of stories of the training grammar, number `start` on; one of a category at most."""
    found: list[dict[str, str]] = []
    counts: Counter[tuple[str, str]] = Counter()
    while len(found) < each * len(CATEGORIES):
        for story in told("pairs", seed, start, BLOCK):
            for category in CATEGORIES:
                if sum(counts[category, change] for change in CHANGES[category]) < each:
                    found += _pair(story, category, counts)
        start += BLOCK
    return sorted(found, key=lambda pair: (CATEGORIES.index(pair["category"]), pair["change"]))


def _pair(story: Story, category: str, counts: Counter[tuple[str, str]]) -> list[dict[str, str]]:
    """One pair of the category or none, of the kind that is rarest so far."""
    for change in sorted(CHANGES[category], key=lambda change: counts[category, change]):
        for sentence in story.sentences:
            if sentence.category != category:
                continue
            before, right = story.text[: sentence.start], story.text[sentence.start : sentence.end]
            for spoilt in _MADE[change](story, sentence):
                wrong = before + spoilt[:1].upper() + spoilt[1:]
                if spoilt != right and reach(wrong) < len(wrong):
                    counts[category, change] += 1
                    return [{"category": category, "change": change, "right": before + right, "wrong": wrong}]
    return []


def _replaced(words: dict[str, str]) -> Change:
    """Each of the words, replaced by its opposite."""

    def change(story: Story, sentence: Sentence) -> Iterator[str]:
        text = story.text[sentence.start : sentence.end]
        for match in re.finditer(r"\w+", text):
            if match[0].lower() in words:
                yield text[: match.start()] + words[match[0].lower()] + text[match.end() :]

    return change


def _pronoun(story: Story, sentence: Sentence) -> Iterator[str]:
    """The other gender for one mention of a character."""
    for mention in story.mentions:
        word = story.text[mention.start : mention.end].lower()
        if mention.form == "pronoun" and sentence.start <= mention.start and mention.end <= sentence.end:
            after = story.text[mention.end : sentence.end]
            other = (
                ("his" if re.match(r" (?!that|how|why|a |some|to |the |whether|and |by |in |with )[a-z]", after) else "him")
                if word == "her"
                else SWAPPED.get(word)
            )
            if other:
                yield story.text[sentence.start : mention.start] + other + after


def _tense(story: Story, sentence: Sentence) -> Iterator[str]:
    """A verb of the sentence, outside of what is quoted, in the other tense."""
    text = story.text[sentence.start : sentence.end]
    for match in re.finditer(r'"[^"]*"|\w+', text):
        for other in _tenses().get(match[0], ()):
            yield text[: match.start()] + other + text[match.end() :]


def _plain(story: Story, sentence: Sentence) -> Iterator[str]:
    """A verb without its ending: a pulley make."""
    text = story.text[sentence.start : sentence.end]
    for match in re.finditer(r"\w+", text):
        if match[0] in _bases():
            yield text[: match.start()] + _bases()[match[0]] + text[match.end() :]


def _turned(pattern: re.Pattern[str]) -> Change:
    """Two neighbours in the wrong order."""

    def change(story: Story, sentence: Sentence) -> Iterator[str]:
        text = story.text[sentence.start : sentence.end]
        for match in pattern.finditer(text):
            first, second = match[1], match[2]
            if first[0].isupper() and first != "I":
                first, second = first[0].lower() + first[1:], second[0].upper() + second[1:]
            yield text[: match.start()] + f"{second} {first}" + text[match.end() :]

    return change


@lru_cache
def _verbs() -> list[str]:
    """Every verb that the data marks."""
    return sorted({verb for name in FILES for verb in re.findall(r"~([a-z]+)", (FOLDER / name).read_text(encoding="ascii"))})


@lru_cache
def _tenses() -> dict[str, list[str]]:
    """{a verb's past or present in the third person: the other one}."""
    table: dict[str, list[str]] = {}
    for verb in _verbs():
        past, present = (inflect.verb(verb, tense, False, fables().data["verbs"]) for tense in ("past", "s"))
        for word, other in ((past, present), (present, past)):
            table.setdefault(word, []).append(other)
    return table


@lru_cache
def _bases() -> dict[str, str]:
    """{a verb's present in the third person: the verb}."""
    return {inflect.verb(verb, "s", False, fables().data["verbs"]): verb for verb in _verbs() if verb != "cannot"}


_MADE: dict[str, Change] = {
    "pronoun": _pronoun,
    "number": _replaced(NUMBERS),
    "tense": _tense,
    "ending": _plain,
    "negation": _replaced(NEGATIONS),
    "comparative": _replaced(COMPARED),
    "question": _turned(ASKED),
    "order": _turned(TURNED),
}
CHANGES: dict[str, tuple[str, ...]] = {
    "simple": ("tense", "pronoun", "order"),
    "complex": ("order", "tense", "number"),
    "long-range": ("number", "tense"),
    "coreference": ("pronoun",),
    "negation": ("negation",),
    "question": ("question", "order"),
    "technical": ("ending", "order"),
    "ambiguous": ("order", "tense"),
    "comparative": ("comparative",),
    "temporal": ("tense", "order"),
}
