"""Stories drawn from the grammar: story i is a pure function of (grammar version, seed, i), with its exact probability and its annotations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log2
from typing import Any, NamedTuple

import numpy as np

from picollm.tasks.text.fables.grammar import END, Grammar, Value, fables
from picollm.tasks.text.fables.pieces import CAPITAL, CHOICE, LITERAL, MENTIONS, MOVING, PRINT, REFER, Pieces

BLOCK = 1024  # stories whose randomness is drawn at once: a generator for every story would cost more than the story
ROW = 256  # uniforms for one story; the longest uses about half of them


HELDOUT = ("templates", "combinations")


class Sentence(NamedTuple):
    start: int
    end: int
    slot: str  # one of grammar.SLOTS
    template: str  # "node/name"
    category: str  # one of grammar.CATEGORIES


class Mention(NamedTuple):
    start: int
    end: int
    character: int  # 0 hero, 1 friend, 2 both together
    form: str  # name, pronoun or description


class Span(NamedTuple):
    start: int
    end: int
    label: str  # cue and scope of a negation, subject and verb of an agreement


@dataclass(frozen=True)
class Story:
    """A text and the truth about it; every start and end is a character offset into `text`."""

    text: str
    bits: float  # -log2 p(text), its end included
    sentences: tuple[Sentence, ...]
    mentions: tuple[Mention, ...]
    spans: tuple[Span, ...]
    values: dict[str, str]  # every variable that was drawn, as its text stands in the data
    heldout: tuple[str, ...]  # which of HELDOUT it uses


def stories(seed: int, start: int, count: int, grammar: Grammar | None = None) -> Iterator[Story]:
    """Stories start .. start + count - 1 of this seed."""
    grammar = grammar or fables()
    write, loaded = _writer(grammar), -1
    for i in range(start, start + count):
        block, row = divmod(i, BLOCK)
        if block != loaded:
            uniforms = np.random.Generator(np.random.PCG64([grammar.data["version"], seed, block])).random((BLOCK, ROW))
            loaded = block
        yield write(uniforms[row].tolist())


def _writer(grammar: Grammar) -> Callable[[list[float]], Story]:
    """A function from uniforms to a story. One big closure, because local names are what makes Python fast here."""
    plan, nodes, numbers, genders = grammar.plan, grammar.nodes, grammar.characters, grammar.genders
    outcomes = grammar.combination.outcomes if grammar.combination else set()
    names = list(grammar.slots)
    env: list[Any] = []
    out: list[str] = []
    mentions: list[Mention] = []
    spans: list[Span] = []
    heldout: set[str] = set()
    bits, position, capital = 0.0, 0, False
    uniform: Callable[[], float] = iter([0.0]).__next__

    def draw(slot: int) -> Value:
        nonlocal bits
        table = grammar.source(slot, env)
        avoid = grammar.avoided(slot, env)
        if avoid is not None and avoid in table.options:  # uniform over the others; Choice and Table know no exceptions
            rest = len(table.options) - 1
            index = int(uniform() * rest)
            index += index >= table.options.index(avoid)
            bits += log2(rest)
        else:
            index = table.index(uniform())
            bits += table.bits[index]
        value = table.options[index]
        if slot in outcomes and value is grammar.barred(slot, env):
            heldout.add("combinations")
        env[slot] = value
        return value  # type: ignore[no-any-return]

    def run(pieces: Pieces) -> None:
        nonlocal bits, position, capital
        for piece in pieces:
            op = piece[0]
            if op == LITERAL:
                word = piece[2] if capital else piece[1]
                capital = False
                out.append(word)
                position += len(word)
            elif op == PRINT:
                value = env[piece[1]]
                run((draw(piece[1]) if value is None else value).form(piece[2]))
            elif op == REFER:
                run(env[piece[1]].form(piece[2]))
            elif op == CHOICE:
                table = piece[1].table(env)
                index = table.index(uniform())
                bits += table.bits[index]
                run(table.options[index])
            elif op == CAPITAL:
                capital = True
            else:
                _, label, character, inner = piece
                begin = position
                run(inner)
                if label in MENTIONS:
                    mentions.append(Mention(begin, position, numbers[character], label))
                    if label in MOVING:
                        env[env[genders[character]].focus] = character
                else:
                    spans.append(Span(begin, position, label))

    def write(uniforms: list[float]) -> Story:
        nonlocal bits, position, capital, uniform
        for part in (out, mentions, spans, heldout):
            part.clear()
        env[:] = [None] * grammar.width
        bits, position = 0.0, 0
        uniform = iter(uniforms).__next__
        sentences: list[Sentence] = []
        name = ""
        while True:
            table = plan[name, len(sentences)]
            index = table.index(uniform())
            bits += table.bits[index]
            name = table.options[index]
            if name == END:
                break
            if sentences:
                out.append(" ")
                position += 1
            node = nodes[name]
            for slot, value in node.sets:
                env[slot] = value
            begin, capital = position, True
            table = node.templates
            index = table.index(uniform())
            bits += table.bits[index]
            template = table.options[index]
            if template.heldout:
                heldout.add("templates")
            run(template.pieces)
            sentences.append(Sentence(begin, position, node.slot, template.id, template.category))
        values = {name: value.text for name, value in zip(names, env, strict=False) if value is not None}
        return Story("".join(out), bits, tuple(sentences), tuple(mentions), tuple(spans), values, tuple(kind for kind in HELDOUT if kind in heldout))

    return write
