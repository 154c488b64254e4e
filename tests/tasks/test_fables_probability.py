"""The probability of a text: parser against generator, both against enumeration, entropy against all three."""

import lzma
import zlib
from functools import lru_cache
from math import fsum, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from picollm.tasks.text.fables import expected, log2_probability, parse, reach, statistics, stories, told
from picollm.tasks.text.fables.ambiguity import ambiguities
from picollm.tasks.text.fables.grammar import END, Grammar, fables
from picollm.tasks.text.fables.pieces import CHOICE, LITERAL, MOVING, PRINT, REFER, SPAN

TINY = """
version: 1
tenses: [past, s]
heldout:
  combinations: {name: hero_name, object: wish, outcomes: [first], one_in: 4}
  templates: [opening/there, try/said]
verbs: {be: {past: was, past_plural: were, s: is, s_plural: are}}
speech: [I, my]
persons: {third: {character: hero}, i: {character: hero, he: I, his: my}}
characters:
  hero:
    gender: hero_gender
    mentions:
    - {when: [-hero_name], weight: 1, text: '{hero_gender.-}[hero.description:a (big|small) fox] named [hero.name:{hero_name}]'}
    - {when: [hero_name, focus], weight: 2, text: '[hero.pronoun:{hero_gender.CASE}]'}
    - {when: [hero_name], weight: 1, text: '[hero.name:{hero_name}]'}
  friend:
    gender: friend_gender
    mentions:
    - {when: [-friend_name], weight: 1, text: '{friend_gender.-}[friend.name:{friend_name}] the [friend.description:owl]'}
    - {when: [friend_name, focus], weight: 1, text: '[friend.pronoun:{friend_gender.CASE}]'}
    - {when: [friend_name], weight: 3, text: '[friend.name:{friend_name}]'}
variables:
  hero_gender: {list: genders}
  hero_name: {list: names, of: hero_gender}
  friend_gender: {list: genders}
  friend_name: {list: names, of: friend_gender, unlike: hero_name}
  wish: {list: wishes}
  first: {list: ways, of: wish}
  second: {list: ways, of: wish, unlike: first}
  crowd: {list: crowds}
  outcome: {list: outcomes}
  maxim: {list: maxims, of: outcome}
lists:
  genders:
  - {text: he, weight: 3, he: he, him: him, his: his, names: [Al, Bo, Cy, Dan]}
  - {text: she, weight: 1, he: she, him: her, his: her, names: [Di, Flo, Gia, Hal]}
  wishes:
  - {text: '~find {his} hat', weight: 2, ways: [~search, '~dig under {his} bed', ~ask]}
  - {text: ~rest, ways: [~nap, ~sit]}
  crowds: [{text: the owls by the lake, number: plural}, the owl by the lakes]
  outcomes: [{text: good, maxims: [all is well, rest helps]}, {text: bad, maxims: [not all is well]}]
start: {opening: 2, now: 1}
shortest: 2
longest: 4
nodes:
  opening:
    slot: opening
    next: {try: 3, meet: 1}
    templates: {once: 'Once {hero} ~want to {wish}.', there: 'There ~be {hero}, and {hero.he} ~hope to {wish}.'}
  now:
    slot: opening
    tense: s
    next: {try: 1}
    templates: {is: 'Now {hero} ~want to {wish}.'}
  try:
    slot: attempt
    next: {meet: 2, end: 1, bad: 1}
    templates:
      first: '{hero} ~try to {first}, then to {second}.'
      said: '"I (may|shall) {first/i}," ~say {hero!}, while {crowd} ~be@crowd away.'
  meet:
    slot: question
    next: {end: 1, END: 1}
    templates: {met: '{hero} ~meet {friend@him}.', saw: '{friend} ~see {hero@him}, and {hero} ~see {friend@him}.'}
  end:
    slot: lesson
    sets: {outcome: good}
    next: {END: 1}
    templates: {so: {text: 'So {maxim}.', weight: 2}, by: '^{maxim} by now.'}
  bad:
    slot: lesson
    sets: {outcome: bad}
    next: {END: 1}
    templates: {so: 'So {maxim}.'}
"""


def tiny_data():
    return YAML(typ="safe").load(TINY)


def enumerate_all(grammar):
    """(text, probability) of every derivation: the grammar a third time, in the plainest way."""
    heldout = grammar.data.get("heldout") if grammar.restricted else None
    if heldout:
        rule = heldout["combinations"]
        name, wish = grammar.slots[rule["name"]], grammar.slots[rule["object"]]
        outcomes = [grammar.slots[outcome] for outcome in rule["outcomes"]]

    def forbidden(slot, value, env):
        unlike = grammar.variables[slot].unlike
        if unlike is not None and value is env[unlike]:
            return True
        return bool(heldout) and slot in outcomes and (env[name].place + 7 * env[wish].place + 3 * value.place) % rule["one_in"] == 0

    def sentence(pieces, env, text, p, capital):
        if not pieces:
            yield env, text, p, capital
            return
        (op, *rest), after = pieces[0], pieces[1:]
        if op == LITERAL:
            yield from sentence(after, env, text + rest[capital], p, False)
        elif op in (PRINT, REFER):
            slot, form = rest
            choices = [(env[slot], 1.0)]
            if env[slot] is None:
                table = grammar.source(slot, env)
                kept = [pair for pair in zip(table.options, table.weights, strict=True) if not forbidden(slot, pair[0], env)]
                choices = [(value, weight / sum(other for _, other in kept)) for value, weight in kept]
            for value, q in choices:
                yield from sentence(value.form(form) + after, {**env, slot: value}, text, p * q, capital)
        elif op == CHOICE:
            choice = rest[0]
            open_now = [i for i, tests in enumerate(choice.conditions) if all(test.holds(env) for test in tests)]
            for i in open_now:
                yield from sentence(choice.options[i] + after, env, text, p * choice.weights[i] / sum(choice.weights[j] for j in open_now), capital)
        elif op == SPAN:
            label, character, inner = rest
            for env_in, text_in, p_in, capital_in in sentence(inner, env, text, p, capital):
                moved = {**env_in, env_in[grammar.genders[character]].focus: character} if label in MOVING else env_in
                yield from sentence(after, moved, text_in, p_in, capital_in)
        else:
            yield from sentence(after, env, text, p, True)

    def story(name, count, env, text, p):
        table = grammar.plan[name, count]
        for target, q in zip(table.options, table.p, strict=True):
            if target == END:
                yield text, p * q
                continue
            node = grammar.nodes[target]
            start = {**env, **dict(node.sets)}
            for template, r in zip(node.templates.options, node.templates.p, strict=True):
                for env_out, text_out, p_out, _ in sentence(template.pieces, start, text + " " * bool(count), p * q * r, True):
                    yield from story(target, count + 1, env_out, text_out, p_out)

    return list(story("", 0, dict.fromkeys(range(grammar.width)), "", 1.0))


@lru_cache
def enumerated(restricted):
    grammar = Grammar(tiny_data(), restricted)
    return grammar, enumerate_all(grammar)


@pytest.fixture(scope="module", params=[False, True], ids=["full", "restricted"])
def tiny(request):
    return enumerated(request.param)[0]


@pytest.fixture(scope="module")
def every(tiny):
    return enumerated(tiny.restricted)[1]


@pytest.fixture(scope="module")
def expectation():
    return expected()


@pytest.fixture(scope="module")
def sample():
    return list(stories(seed=2, start=0, count=4000))


def test_tiny_grammar_sums_to_one_and_is_unambiguous(tiny, every):
    assert len(every) > 2000
    assert len({text for text, _ in every}) == len(every)
    assert fsum(p for _, p in every) == pytest.approx(1, abs=1e-12)
    assert ambiguities(tiny) == []


def test_tiny_entropy_is_that_of_the_enumeration(tiny, every):
    exact = expected(tiny)
    assert exact.bits == pytest.approx(fsum(-p * log2(p) for _, p in every), rel=1e-12)
    assert exact.bytes == pytest.approx(fsum(p * len(text) for text, p in every), rel=1e-12)
    assert fsum(exact.sentences.values()) == pytest.approx(1)


def test_tiny_parser_and_generator_agree_with_the_enumeration(tiny, every):
    table = dict(every)
    for text, p in every[::197]:
        assert log2_probability(text, tiny) == pytest.approx(log2(p), abs=1e-9)
    for story in stories(0, 0, 300, tiny):
        assert story.bits == pytest.approx(-log2(table[story.text]), abs=1e-9)


def test_training_never_tells_what_is_held_out_and_tells_the_rest_as_it_is():
    """By enumeration: the restricted grammar has the stories of the full one that are not held out, and a story that is says so."""
    (full, every), (restricted, trained) = enumerated(False), enumerated(True)
    known, table = dict(trained), dict(every)
    assert set(known) < set(table)
    seen = set()
    for story in stories(0, 0, 3000, full):
        assert (story.text in known) == (not story.heldout), story.text
        seen.add(story.heldout)
    assert seen == {(), ("templates",), ("combinations",), ("templates", "combinations")}
    assert not any(story.heldout for story in stories(0, 0, 500, restricted))


def test_the_held_out_sets_need_what_training_never_sees():
    restricted = fables(restricted=True)
    for kind in ("templates", "combinations"):
        for story in told(f"heldout_{kind}", 0, 0, 25):
            assert story.heldout == (kind,)
            assert log2_probability(story.text, restricted) is None
            assert log2_probability(story.text) == pytest.approx(-story.bits, abs=1e-9), "the full grammar's"
    for story in told("train", 0, 0, 25):
        assert log2_probability(story.text, restricted) == pytest.approx(-story.bits, abs=1e-9)
        assert log2_probability(story.text) < -story.bits + 1e-9, "training has fewer choices"


def test_names_are_as_the_held_out_combinations_need_them():
    grammar = fables()
    for gender in grammar.lists["genders"].options:
        names = gender.lists["names"]
        assert len(names.options) % grammar.combination.one_in == 0
        assert len(set(names.weights)) == 1
    for wish in grammar.lists["wishes"].options:
        for outcome in ("solutions", "advice", "devices", "together", "instead"):
            assert 2 <= len(wish.lists[outcome].options) < 7, "one may be barred, and no two for the same name"
    ids = {template.id for node in grammar.nodes.values() for template in node.templates.options}
    held = {template.id for node in grammar.nodes.values() for template in node.templates.options if template.heldout}
    assert held == grammar.heldout_templates
    assert len(held) / len(ids) == pytest.approx(0.05, abs=0.005)


def test_ambiguity_is_found_and_summed():
    data = tiny_data()
    data["longest"] = 3
    data["nodes"]["bad"]["templates"]["too"] = "So (not|never) all is well."
    grammar = Grammar(data)
    assert any("bad/so and bad/too" in line for line in ambiguities(grammar))
    every = enumerate_all(grammar)
    text = next(text for text, _ in every if text.endswith("So not all is well."))
    assert len(parse(text, grammar)) == 2
    assert log2_probability(text, grammar) == pytest.approx(log2(fsum(p for other, p in every if other == text)), abs=1e-9)


def test_a_sentence_that_begins_another_is_an_ambiguity():
    data = tiny_data()
    data["nodes"]["try"]["templates"]["long"] = "{hero} ~nap. So not all is well."
    data["nodes"]["try"]["templates"]["short"] = "{hero} ~nap."
    assert any("try/long" in line and "try/short" in line for line in ambiguities(Grammar(data)))


def test_the_parser_finds_the_generators_derivation(sample):
    for story in sample[:150]:
        (derivation,) = parse(story.text)
        assert derivation.bits == pytest.approx(story.bits, abs=1e-9)
        assert derivation.templates == tuple(sentence.template for sentence in story.sentences)
        assert derivation.values == story.values
        assert log2_probability(story.text) == pytest.approx(-story.bits, abs=1e-9)


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from("abcdefghijklmnopqrstuvwxyzABTS ,.\"'"))
def test_the_parser_refuses_a_changed_letter(index, position, letter):
    story = next(stories(3, index % 1024, 1))
    text, position = story.text, position % len(story.text)
    changed = text[:position] + letter + text[position + 1 :]
    # Nora may turn into Dora, if she is named but once: another story, with other values.
    assert changed == text or all(derivation.values != story.values for derivation in parse(changed))


def test_the_parser_refuses_what_is_no_story(sample):
    for text in ("", " ", "Once", "Once upon a time, there was a big elephant."):
        assert log2_probability(text) is None
    for story in sample[:40]:
        first = story.sentences[0]
        assert log2_probability(story.text + " ") is None
        assert log2_probability(story.text[:-1]) is None
        assert log2_probability(story.text[: first.end]) is None  # one sentence is no story
        assert log2_probability(story.text[first.end + 1 :]) is None  # nor is one without an opening
        for mention in story.mentions:
            if mention.form == "pronoun" and story.text[mention.start : mention.end].lower() in ("he", "she", "it"):
                wrong = {"he": "she", "she": "it", "it": "he"}[story.text[mention.start : mention.end].lower()]
                assert log2_probability(story.text[: mention.start] + wrong + story.text[mention.end :]) is None
                break


def test_the_reach_of_a_text_is_where_no_story_goes_on(sample):
    for story in sample[:25]:
        text = story.text
        for end in (0, 1, len(text) // 3, len(text) - 1, len(text)):
            assert reach(text[:end]) == end, "a beginning of a story"
        for sentence in story.sentences:
            assert reach(text[: sentence.start] + "#" + text[sentence.start + 1 :]) == sentence.start
        assert reach(text + "#") == len(text)


def test_the_sample_mean_is_the_exact_entropy(sample, expectation):
    for values, exact in (
        ([story.bits for story in sample], expectation.bits),
        ([len(story.text) for story in sample], expectation.bytes),
        ([len(story.sentences) for story in sample], sum(count * p for count, p in expectation.sentences.items())),
    ):
        assert abs(np.mean(values) - exact) < 4 * np.std(values) / np.sqrt(len(values))


def test_templates_come_as_often_as_they_should(sample, expectation):
    used = [sentence.template for story in sample for sentence in story.sentences]
    assert set(used) <= set(expectation.templates)
    for template, share in expectation.templates.items():
        assert abs(used.count(template) - len(sample) * share) < 5 * np.sqrt(len(sample) * share)


def test_no_compressor_goes_below_the_floor(sample):
    text = "\n".join(story.text for story in sample[:2000])
    floor = sum(story.bits for story in sample[:2000]) / len(text)
    assert 8 * len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)) / len(text) > floor
    assert 8 * len(zlib.compress(text.encode(), 9)) / len(text) > floor


def test_no_sentence_of_some_nodes_has_two_derivations():
    """A part of the proof, to be had quickly."""
    assert ambiguities(only=frozenset({"wish", "mood", "opening_now"})) == []


@pytest.mark.slow
def test_no_text_of_the_corpus_has_two_derivations():
    assert ambiguities() == []


@pytest.mark.slow
def test_the_training_stories_have_the_entropy_of_their_grammar():
    exact = expected(fables(restricted=True))
    sample = list(told("train", 5, 0, 20_000))
    for values, mean in (([story.bits for story in sample], exact.bits), ([len(story.text) for story in sample], exact.bytes)):
        assert abs(np.mean(values) - mean) < 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.slow
def test_the_data_card_says_what_is_true(request):
    card = (request.config.rootpath / "docs" / "fables.md").read_text(encoding="utf-8")
    facts = statistics()
    for value in (
        f"{facts['templates']} templates",
        f"{facts['word_forms']:,} word forms",
        f"{facts['bits']:.3f} bits",
        f"{facts['bytes']:.3f} bytes",
        f"**{facts['bits_per_byte']:.4f} bits per byte**",
        f"{facts['training']['bits']:.3f} bits",
        f"**{facts['training']['bits_per_byte']:.4f} bits per byte**",
        facts["sha256"],
    ):
        assert value in card, value
    assert f"{facts['nodes']} nodes" in card
