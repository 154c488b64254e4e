"""Pairs of inputs that differ in what decides the next token, token for token equally long: what patching needs.

The stored minimal pairs will not do: up to the first wrong word they are the same text, and a model that reads it cannot tell
which one it is in. So here the beginning changes and the word does not: in a fable, the same story told of a girl or of a boy up
to the pronoun, or another subject of the other number up to its verb; the parser says that each word is right in one and wrong
in the other. In arithmetic sequences, another step from the same start, or another start with the same step.

Shapes: N pairs, T tokens, padded behind the one that predicts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from picollm.analysis import _probes
from picollm.analysis._result import Subject
from picollm.tasks.text import fables
from picollm.tasks.text.fables import Mention, Story
from picollm.tokenizers._shared import Base, from_json

SEED = 6
STORIES = 3000  # that pairs are looked for in
EACH = 24  # pairs of a kind
LENGTH = 48  # tokens before the answer; those further back are cut off, as they are by the windows of a training
GENDER = {
    "he": "she",
    "she": "he",
    "He": "She",
    "She": "He",
    "his": "her",
    "him": "her",
    "himself": "herself",
    "herself": "himself",
    "boy": "girl",
    "girl": "boy",
}
NUMBER = {"was": "were", "were": "was", "is": "are", "are": "is"}


@dataclass(frozen=True, eq=False)
class Pairs:
    kinds: np.ndarray  # (N,) of strings
    clean: np.ndarray  # (N, T) ids
    corrupted: np.ndarray  # (N, T)
    last: np.ndarray  # (N,): the token after which the answer comes
    right: np.ndarray  # (N,): the answer of the clean one
    wrong: np.ndarray  # (N,): of the corrupted one
    classes: dict[str, np.ndarray]  # of tokens, (N, T) bool each
    left_out: dict[str, int] = field(default_factory=dict)  # why: how often

    def some(self, rows: np.ndarray) -> "Pairs":
        arrays = {name: getattr(self, name)[rows] for name in ("kinds", "clean", "corrupted", "last", "right", "wrong")}
        return Pairs(**arrays, classes={name: own[rows] for name, own in self.classes.items()})

    @cached_property
    def donors(self) -> np.ndarray:
        """(N,): for every pair another of its kind, with another answer."""
        rng = np.random.Generator(np.random.PCG64(SEED))
        rows = []
        for kind, right in zip(self.kinds, self.right, strict=True):
            others = np.flatnonzero((self.kinds == kind) & (self.right != right))
            rows.append(rng.choice(others if len(others) else np.flatnonzero(self.kinds == kind)))
        return np.array(rows)


def of_numbers(subject: Subject) -> Pairs:
    """Arithmetic sequences of options.length terms, the last of which is the answer. Kinds: step, start."""
    rows = _probes.sequences(subject, "arithmetic", 2000)
    step = rows[:, 1] - rows[:, 0]
    rng = np.random.Generator(np.random.PCG64(SEED))
    found: dict[str, list[tuple[int, int]]] = {"step": [], "start": []}
    for kind, same, other in (("step", rows[:, 0], step), ("start", step, rows[:, 0])):
        for i in rng.permutation(len(rows)):
            partners = np.flatnonzero((same == same[i]) & (other != other[i]) & (rows[:, -1] != rows[i, -1]))
            if len(partners) and len(found[kind]) < EACH:
                found[kind].append((i, rng.choice(partners)))
    kinds = np.array([kind for kind, own in found.items() for _ in own])
    i, j = np.array([pair for own in found.values() for pair in own], np.int64).reshape(-1, 2).T
    back = np.arange(rows.shape[1] - 1)[::-1]  # terms before the last that is read
    names = {"earlier": back > 2, "two back": back == 2, "one back": back == 1, "last": back == 0}
    classes = {name: np.broadcast_to(own, (len(kinds), len(back))) for name, own in names.items()}
    return Pairs(kinds, rows[i, :-1], rows[j, :-1], np.full(len(kinds), len(back) - 1), rows[i, -1], rows[j, -1], classes)


@dataclass(frozen=True)
class _Texts:
    """A beginning, a changed one, and what follows each: the right word and the wrong one."""

    kind: str
    clean: str
    corrupted: str
    right: str
    wrong: str
    after: str  # the character behind the word: else "he" were the beginning of "help"


def of_fables(subject: Subject) -> Pairs:
    """Beginnings of fables that training has not seen, the last LENGTH tokens of each. Kinds: name (whose gender its name alone tells), pronoun, number."""
    tokenizer, length = from_json(subject.tokens.header["tokenizer"]), min(LENGTH, subject.model.max_length or LENGTH)
    stories = list(fables.told("test", SEED, 0, STORIES))
    left_out: Counter[str] = Counter()
    rows: list[_Row] = []
    for texts_of in (_pronouns(stories, tokenizer, "name", 0), _pronouns(stories, tokenizer, "pronoun", 1), _numbers(stories, tokenizer)):
        found = 0
        for texts in texts_of:
            row = _tokens(texts, tokenizer, length)
            if isinstance(row, str) or not _decided(texts):
                left_out[f"{texts.kind}: {row if isinstance(row, str) else 'grammar'}"] += 1
                continue
            rows.append(row)
            found += 1
            if found == EACH:
                break
    return _padded(rows, tokenizer.end, dict(left_out))


def _pronouns(stories: list[Story], tokenizer: Base, kind: str, which: int) -> Iterator[_Texts]:
    """Of every story a "he" or "she" of its hero, the first or the second, and the beginning with all of the hero's mentions in the other gender."""
    names: dict[tuple[str, int], list[str]] = defaultdict(list)  # by gender and length
    heroes = {story.values["hero_name"]: story.values["hero_gender"] for story in stories}
    for name in sorted(heroes):
        names[heroes[name], len(tokenizer.encode(f" {name}"))].append(name)
    for number, story in enumerate(stories):
        own = [mention for mention in story.mentions if mention.character == 0]
        subjects = [mention for mention in own if story.text[mention.start : mention.end] in ("he", "she")]
        if len(subjects) <= which:
            continue
        start, end, *_ = subjects[which]
        right, hero = story.text[start:end], story.values["hero_name"]
        candidates = names[GENDER[right], len(tokenizer.encode(f" {hero}"))]
        if candidates:
            corrupted = _retold(story, [mention for mention in own if mention.end <= start], {**GENDER, hero: candidates[number % len(candidates)]}, start)
            yield _Texts(kind, story.text[:start], corrupted, right, GENDER[right], story.text[end : end + 1])


def _retold(story: Story, mentions: list[Mention], words: dict[str, str], end: int) -> str:
    """The story up to `end`, with other words in some mentions."""
    text, at = "", 0
    for mention in mentions:
        told = re.sub(r"\w+", lambda word: words.get(word[0], word[0]), story.text[mention.start : mention.end])
        text, at = text + story.text[at : mention.start] + told, mention.end
    return text + story.text[at:end]


def _numbers(stories: list[Story], tokenizer: Base) -> Iterator[_Texts]:
    """Of every story a subject with a noun of the other number between it and its verb, and some of the other number in its place."""
    found = []
    for story in stories:
        relations = fables.annotations(story)["relations"]
        relation = next((own for own in relations if own["kind"] == "agreement" and own["attractors"]), None)
        if relation and story.text[slice(*relation["verb"])] in NUMBER:
            found.append((story, relation))
    subjects: dict[tuple[str, int], set[str]] = defaultdict(set)  # by number and length
    for story, relation in found:
        text = story.text[slice(*relation["subject"])]
        subjects[relation["number"], len(tokenizer.encode(text))].add(text[0].lower() + text[1:])
    for number, (story, relation) in enumerate(found):
        (start, end), (verb, verb_end) = relation["subject"], relation["verb"]
        text, other = story.text[start:end], {"singular": "plural", "plural": "singular"}[relation["number"]]
        candidates = sorted(subjects[other, len(tokenizer.encode(text))])
        if candidates:
            new = candidates[number % len(candidates)]
            new = new[0].upper() + new[1:] if text[0].isupper() else new
            right = story.text[verb:verb_end]
            corrupted = story.text[:start] + new + story.text[end:verb]
            yield _Texts("number", story.text[:verb], corrupted, right, NUMBER[right], story.text[verb_end : verb_end + 1])


def _decided(texts: _Texts) -> bool:
    """Does the grammar allow each word after its own beginning alone?"""

    def begins(text: str, word: str) -> bool:
        whole = text + word + texts.after
        return fables.reach(whole) == len(whole)

    return begins(texts.corrupted, texts.wrong) and not begins(texts.corrupted, texts.right) and not begins(texts.clean, texts.wrong)


@dataclass(frozen=True)
class _Row:
    """The same in tokens."""

    kind: str
    clean: list[int]
    corrupted: list[int]
    right: int
    wrong: int


def _tokens(texts: _Texts, tokenizer: Base, length: int) -> _Row | str:
    """The last tokens of both beginnings, with the end of the story before them, and those of the two words; or why they do not match."""
    clean, corrupted = ([tokenizer.encode(text + word + texts.after) for word in (texts.right, texts.wrong)] for text in (texts.clean, texts.corrupted))
    at, also = (next(i for i, (a, b) in enumerate(zip(*both, strict=False)) if a != b) for both in (clean, corrupted))
    if at != also:
        return "length"
    if clean[0][at] != corrupted[0][at] or clean[1][at] != corrupted[1][at]:
        return "tokens of the words"
    if clean[0][: max(0, at - length)] != corrupted[0][: max(0, at - length)]:
        return "too long"
    whole, changed = ([tokenizer.end, *ids[0][:at]][-length:] for ids in (clean, corrupted))
    return _Row(texts.kind, whole, changed, clean[0][at], clean[1][at])


def _padded(rows: list[_Row], end: int, left_out: dict[str, int]) -> Pairs:
    """Classes: `changed` tokens, those `between` the first of them and the last token, and that `last` one, which may be changed too."""
    width = max((len(row.clean) for row in rows), default=1)
    clean, corrupted = (
        np.array([ids + [end] * (width - len(ids)) for ids in side], np.int64).reshape(-1, width)
        for side in ([row.clean for row in rows], [row.corrupted for row in rows])
    )
    last = np.array([len(row.clean) - 1 for row in rows], np.int64)
    place = np.arange(width)
    changed, before = clean != corrupted, place < last[:, None]
    after = changed.cumsum(1) > 0
    classes = {"changed": changed & before, "between": ~changed & after & before, "last": place == last[:, None]}
    right, wrong = (np.array(side, np.int64) for side in ([row.right for row in rows], [row.wrong for row in rows]))
    return Pairs(np.array([row.kind for row in rows]), clean, corrupted, last, right, wrong, classes, left_out)
