"""The stories and the truth stored with them: purity, prose without slips, annotations that say what stands there."""

import re
from itertools import islice

import pytest

from picollm.tasks.text.fables import stories
from picollm.tasks.text.fables.facts import word_forms
from picollm.tasks.text.fables.grammar import CATEGORIES, SLOTS, fables
from picollm.tasks.text.fables.inflect import plural_of, verb, with_article

PRONOUNS = {"he": {"he", "him", "his", "himself"}, "she": {"she", "her", "herself"}, "it": {"it", "its", "itself"}}
THE_TWO = 2  # the number of both characters together


@pytest.fixture(scope="module")
def sample():
    return list(stories(seed=1, start=0, count=3000))


def test_a_story_is_a_pure_function_of_seed_and_index():
    whole = list(stories(7, 0, 1100))
    assert list(stories(7, 1000, 100)) == whole[1000:]  # across the border of a block of randomness
    assert list(islice(stories(7, 500, 10**9), 3)) == whole[500:503]
    assert next(stories(8, 0, 1)) != whole[0]


def test_the_prose_has_no_slips(sample):
    for story in sample:
        text = story.text
        assert text.isascii()
        assert text == text.strip()
        assert not re.search(r"  |\n|[~{}\[\]|()^_@/]|\b(\w+) \1\b|,,|\.\.", text), text
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", text):
            vowel = word[0] in "aeiou" or word in ("honest", "hour")
            assert article.lower() == ("an" if vowel else "a"), text
        assert text.count('"') % 2 == 0
        assert 2 <= len(story.sentences) <= 8


def test_sentences_tile_the_text(sample):
    for story in sample:
        parts = [story.text[sentence.start : sentence.end] for sentence in story.sentences]
        assert " ".join(parts) == story.text
        for part, sentence in zip(parts, story.sentences, strict=True):
            assert re.match(r'"?[A-Z]', part), part
            assert re.search(r'[.?]"?$', part), part
            assert sentence.slot in SLOTS
            assert sentence.category in CATEGORIES
    assert {sentence.category for story in sample for sentence in story.sentences} == set(CATEGORIES)
    assert {sentence.slot for story in sample for sentence in story.sentences} == set(SLOTS)


def test_every_mention_agrees_with_its_character(sample):
    speech, forms = set(fables().data["speech"]), set()
    for story in sample:
        for mention in story.mentions:
            said = story.text[mention.start : mention.end]
            forms.add((mention.character, mention.form))
            if mention.character == THE_TWO:
                assert mention.form != "pronoun" or said.lower() in {"they", "them", "their", "themselves"}
                continue
            who = ("hero", "friend")[mention.character]
            if mention.form == "pronoun":
                assert said.lower() in PRONOUNS[story.values[f"{who}_gender"]] or said in speech, story.text
            elif mention.form == "name":
                assert said == story.values[f"{who}_name"]
            else:
                kinds = [story.values[name] for name in (f"{who}_kind", "elder_kind") if name in story.values]
                assert said.endswith(tuple(kinds))
    assert forms == {(character, form) for character in range(3) for form in ("name", "pronoun", "description")}


def test_a_sentence_that_begins_with_a_pronoun_means_whoever_was_named_last(sample):
    checked = 0
    for story in sample:
        starts = {sentence.start for sentence in story.sentences}
        last = {}
        for mention in sorted(story.mentions):
            gender = story.values.get(("hero_gender", "friend_gender", "pair_gender")[mention.character])
            if mention.form != "pronoun":
                last[gender] = mention.character
            elif mention.start in starts:
                assert last[gender] == mention.character, story.text
                checked += 1
    assert checked > 1000


def test_a_story_keeps_its_tense(sample):
    past, present = {"was", "were", "had", "tried", "could", "wanted"}, {"is", "has", "tries", "can", "wants"}
    told = {True: 0, False: 0}
    for story in sample:
        now = story.sentences[0].template.partition("/")[0].endswith("_now")
        for sentence in story.sentences:
            if sentence.slot in ("attempt", "failure", "resolution"):  # a lesson and a riddle are always true
                words = set(re.findall(r"\w+", re.sub(r'"[^"]*"', "", story.text[sentence.start : sentence.end])))
                assert not words & (past if now else present), story.text[sentence.start : sentence.end]
                told[now] += bool(words & (present if now else past))
    assert min(told.values()) > 300


def test_stories_are_hardly_ever_the_same(sample):
    assert len({story.text for story in sample}) == len(sample)


def test_ambiguous_templates_say_what_they_may_mean():
    templates = {template.id: template for node in fables().nodes.values() for template in node.templates.options}
    assert all((len(template.readings) == 2) == (template.category == "ambiguous") for template in templates.values())
    assert sum(template.category == "ambiguous" for template in templates.values()) > 10


def test_templates_are_hundreds_and_words_thousands():
    assert len({template.id for node in fables().nodes.values() for template in node.templates.options}) > 300
    assert len(word_forms()) > 3000


@pytest.mark.parametrize(
    ("base", "form", "plural", "expected"),
    [
        ("stop", "past", False, "stopped"),
        ("carry", "past", False, "carried"),
        ("play", "ing", False, "playing"),
        ("make", "ing", False, "making"),
        ("see", "ing", False, "seeing"),
        ("watch", "s", False, "watches"),
        ("fly", "s", False, "flies"),
        ("fly", "s", True, "fly"),
        ("go", "past", False, "went"),
        ("lie", "ing", False, "lying"),
        ("be", "past", True, "were"),
        ("be", "s", False, "is"),
    ],
)
def test_inflection(base, form, plural, expected):
    assert verb(base, form, plural, fables().data["verbs"]) == expected


def test_nouns():
    assert [plural_of(noun) for noun in ("fox", "puppy", "boy", "hare")] == ["foxes", "puppies", "boys", "hares"]
    assert [with_article(noun) for noun in ("owl", "little owl")] == ["an owl", "a little owl"]
