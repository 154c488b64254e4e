"""What is stored beside a story says what stands there, in characters and in tokens."""

import json
from collections import Counter

import pytest

from picollm.tasks.text.fables import annotations, stories
from picollm.tasks.text.spans import Places, in_tokens
from picollm.tokenizers import bpe, bytes, chars, gpt2

NEGATIVE = {"not", "cannot", "nobody", "no", "never", "nothing", "without"}
AFTER, BEFORE = {"after", "once", "as soon as", "when"}, {"before", "until", "when"}  # a word whose own event is the earlier one, the later one


@pytest.fixture(scope="module")
def told():
    return [(story, annotations(story)) for story in stories(seed=1, start=0, count=3000)]


def relations(told, kind):
    for story, truth in told:
        for relation in truth["relations"]:
            if relation["kind"] == kind:
                yield story.text, relation


def said(text, place):
    return text[place[0] : place[1]]


def test_it_is_json(told):
    truth = told[0][1]
    assert set(json.loads(json.dumps(truth))) == {"sentences", "mentions", "relations", "values", "heldout"}


def test_every_category_shows_what_it_is_called_for(told):
    shows = {"negation": "negation", "comparative": "comparison", "temporal": "time", "question": "question", "ambiguous": "ambiguity"}
    for story, truth in told:
        places = [(relation["kind"], place) for relation in truth["relations"] for place in spans_of(relation)]
        for sentence in story.sentences:
            inside = {kind for kind, (start, end) in places if sentence.start <= start and end <= sentence.end}
            assert sentence.category not in shows or shows[sentence.category] in inside, story.text[sentence.start : sentence.end]
            if sentence.category == "coreference":
                mentions = [mention for mention in story.mentions if sentence.start <= mention.start < sentence.end]
                assert len(mentions) > 1, story.text[sentence.start : sentence.end]


def spans_of(value):
    if isinstance(value, dict):
        return [place for entry in value.values() for place in spans_of(entry)]
    if isinstance(value, list | tuple):
        return [value] if len(value) == 2 and all(isinstance(entry, int) for entry in value) else [place for entry in value for place in spans_of(entry)]
    return []


def test_chains_lead_back_to_the_first_mention(told):
    distractors = Counter()
    for story, truth in told:
        first = {}
        for number, mention in enumerate(truth["mentions"]):
            before = mention["antecedent"]
            distractors[mention["distractors"] > 0] += 1
            if before is None:
                assert mention["character"] not in first
                first[mention["character"]] = number
            else:
                assert before < number
                assert truth["mentions"][before]["character"] == mention["character"]
        genders = [story.values.get(f"{who}_gender") for who in ("hero", "friend")]
        assert genders[0] == genders[1] or not any(mention["distractors"] for mention in truth["mentions"])
    assert min(distractors.values()) > 1000


def test_negations_have_a_cue_and_nearly_all_a_scope(told):
    cues, scopes = Counter(), Counter()
    for text, relation in relations(told, "negation"):
        cue = said(text, relation["cue"]).lower()
        assert NEGATIVE & set(cue.split()), cue
        cues[cue] += 1
        scopes[relation["scope"] is None] += 1
        assert relation["scope"] is None or relation["scope"][0] >= relation["cue"][1]
    assert len(cues) > 12
    assert scopes[False] > 20 * scopes[True]


def test_verbs_agree_with_the_head_and_not_with_the_attractor(told):
    seen, crossed = Counter(), 0
    for text, relation in relations(told, "agreement"):
        singular = {"was", "is", "has", "had"}
        assert said(text, relation["verb"]) in (singular if relation["number"] == "singular" else {"were", "are", "have", "had"})
        start, end = relation["subject"]
        assert start <= relation["head"][0] < end
        assert all(relation["head"][1] <= place[0] < end for place in relation["attractors"])
        crossed += bool(relation["attractors"])
        seen[relation["number"]] += 1
    assert crossed > 100
    assert min(seen.values()) > 50


def test_comparisons_have_two_sides(told):
    directed = equal = 0
    for text, relation in relations(told, "comparison"):
        if "equal" in relation:
            assert len(relation["equal"]) == 2
            equal += 1
            continue
        more, less = relation["more"], relation["less"]
        assert more[1] <= less[0] or less[1] <= more[0] or said(text, less).lower() == "nobody"
        between = text[min(more[1], less[1]) : max(more[0], less[0])].lower()
        assert " than " in f" {between} " or text[: min(more[0], less[0])].lower().rstrip().endswith("than"), text
        directed += 1
    assert directed > 500
    assert equal > 20


def test_time_words_order_events(told):
    kinds = Counter()
    for text, relation in relations(told, "time"):
        word = said(text, relation["words"]).lower()
        parts = frozenset(relation) - {"kind", "words"}
        assert parts in ({"event"}, {"earlier", "later"}, {"simultaneous"}), text
        kinds[parts] += 1
        if "earlier" in parts:
            own = "earlier" if 0 <= relation["earlier"][0] - relation["words"][1] <= 2 else "later"  # the event that follows the word
            assert word in (AFTER if own == "earlier" else BEFORE), (word, text)
        elif "simultaneous" in parts:
            assert len(relation["simultaneous"]) == 2
            assert word in ("while", "when", "whenever")
    assert min(kinds.values()) > 100


def test_questions_are_answered_later_if_at_all(told):
    answered = Counter()
    for _, relation in relations(told, "question"):
        answered[relation["answer"] is not None] += 1
        assert relation["answer"] is None or relation["question"][1] <= relation["answer"][0]
    assert min(answered.values()) > 300


def test_ambiguous_sentences_have_two_readings(told):
    found = list(relations(told, "ambiguity"))
    assert len(found) > 50
    assert all(len(relation["readings"]) == 2 and len(relation["sites"]) in (0, 2) for _, relation in found)


@pytest.mark.parametrize("kind", [bytes, chars, bpe, gpt2], ids=lambda module: module.Tokenizer.kind)
def test_tokens_of_a_span_spell_it(told, kind):
    texts = [story.text for story, _ in told[:200]]
    tokenizer = kind.Tokenizer.train(texts, 400 if kind is bpe else None)
    for story, truth in told[:40]:
        spelled = tokenizer.spelled(tokenizer.encode(story.text))
        assert b"".join(spelled).decode() == story.text
        moved = in_tokens(truth, story.text, tokenizer)
        pairs = list(zip(spans_of(truth["relations"]), spans_of(moved["relations"]), strict=True))
        pairs += [((old["start"], old["end"]), (new["start"], new["end"])) for old, new in zip(truth["mentions"], moved["mentions"], strict=True)]
        for (start, end), (first, last) in pairs:
            inside = b"".join(spelled[first:last]).decode()
            assert story.text[start:end] in inside
            assert len(inside) < end - start + len(spelled[first]) + len(spelled[last - 1])
        for mention in moved["mentions"]:
            before = mention["antecedent"]
            assert mention["distance"] is None if before is None else mention["distance"] == mention["start"] - moved["mentions"][before]["start"] > 0


def test_characters_of_several_bytes_may_be_cut_by_tokens():
    places = Places("aéz", [b"a\xc3", b"\xa9", b"z"])
    assert [places.tokens(*span) for span in ((0, 1), (1, 2), (2, 3), (0, 3), (1, 1))] == [(0, 1), (0, 2), (2, 3), (0, 3), (0, 0)]
    with pytest.raises(AssertionError, match="another text"):
        Places("ab", [b"a"])
