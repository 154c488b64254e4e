"""Minimal pairs: right beginnings of stories, and wrong ones that differ in one place."""

from collections import Counter

import pytest

from picollm.tasks.text import fables
from picollm.tasks.text.fables.grammar import CATEGORIES
from picollm.tasks.text.fables.minimal import CHANGES

EACH = 12


@pytest.fixture(scope="module")
def pairs():
    return fables.pairs(0, 10**6, EACH)


def test_there_are_as_many_of_every_category_by_every_change(pairs):
    assert Counter(pair["category"] for pair in pairs) == dict.fromkeys(CATEGORIES, EACH)
    assert {(pair["category"], pair["change"]) for pair in pairs} == {(category, change) for category in CATEGORIES for change in CHANGES[category]}
    assert pairs == fables.pairs(0, 10**6, EACH)


def test_the_right_one_begins_a_story_and_the_wrong_one_none(pairs):
    for pair in pairs:
        assert fables.reach(pair["right"]) == len(pair["right"])
        assert fables.reach(pair["wrong"]) < len(pair["wrong"])


def test_they_differ_in_one_or_two_words(pairs):
    for pair in pairs:
        right, wrong = pair["right"].split(), pair["wrong"].split()
        assert len(right) == len(wrong)
        different = [place for place, words in enumerate(zip(right, wrong, strict=True)) if words[0] != words[1]]
        assert different[-1] - different[0] < 3
        if pair["change"] not in ("order", "question"):
            assert len(different) == 1, (pair["right"], pair["wrong"])
