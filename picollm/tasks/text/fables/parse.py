"""The parser: every derivation of a text, found by backtracking over the data and not by the generator's walk."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import fsum, log2
from typing import Any

from picollm.tasks.text.fables.grammar import END, Grammar, Value, fables
from picollm.tasks.text.fables.pieces import CAPITAL, CHOICE, LITERAL, MOVING, PRINT, REFER, SPAN, Table

FOCUS = -1  # a piece of the parser's own: here a name or description ends


@dataclass(frozen=True)
class Derivation:
    bits: float  # -log2 of its probability
    templates: tuple[str, ...]
    values: dict[str, str]


def log2_probability(text: str, grammar: Grammar | None = None) -> float | None:
    """log2 of the sum over all derivations of `text`; None when it is no story of the grammar."""
    derivations = parse(text, grammar)
    if not derivations:
        return None
    least = min(derivation.bits for derivation in derivations)
    return log2(fsum(2 ** (least - derivation.bits) for derivation in derivations)) - least


def parse(text: str, grammar: Grammar | None = None) -> list[Derivation]:
    return _derivations(_Read(text), grammar or fables())


def reach(text: str, grammar: Grammar | None = None) -> int:
    """How many characters of a text some story begins with, to within the words that the data has in one piece: len(text) for any beginning of a story."""
    read = _Read(text)
    _derivations(read, grammar or fables())
    return read.furthest


class _Read:
    """A text, and how far anything has fitted."""

    def __init__(self, text: str) -> None:
        self.text, self.furthest = text, 0

    def fits(self, word: str, position: int) -> bool:
        fits = self.text.startswith(word, position)
        if fits or (len(self.text) - position < len(word) and word.startswith(self.text[position:])):  # a text may end inside a word
            self.furthest = max(self.furthest, min(len(self.text), position + len(word)))
        return fits


def _derivations(text: _Read, grammar: Grammar) -> list[Derivation]:
    """Depth first over partial derivations (position, pieces to come, env, bits, capital, node, templates so far, their number)."""
    found = []
    stack: list[tuple[Any, ...]] = []
    _enter(grammar, text, 0, (None,) * grammar.width, 0.0, "", None, 0, stack)
    while stack:
        position, rest, env, bits, capital, node, trace, count = stack.pop()
        alive = True
        while alive and rest is not None:  # straight on as long as there is nothing to choose
            (pieces, index), rest = rest
            if index == len(pieces):
                continue
            piece = pieces[index]
            op, rest = piece[0], ((pieces, index + 1), rest)
            if op == LITERAL:
                word = piece[2] if capital else piece[1]
                alive, position, capital = text.fits(word, position), position + len(word), False
            elif op == CAPITAL:
                capital = True
            elif op == SPAN:
                _, label, character, inner = piece
                if label in MOVING:
                    rest = ((((FOCUS, character),), 0), rest)
                rest = ((inner, 0), rest)
            elif op == FOCUS:
                slot = env[grammar.genders[piece[1]]].focus
                env = (*env[:slot], piece[1], *env[slot + 1 :])
            elif op == REFER or (op == PRINT and env[piece[1]] is not None):
                rest = ((env[piece[1]].form(piece[2]), 0), rest)
            elif op == PRINT:
                alive, slot = False, piece[1]
                letter = text.text[position : position + 1]
                for value, cost in _candidates(grammar, slot, env, piece[2], capital, letter):
                    form = value.form(piece[2])
                    if _begins(form, text, position, capital):
                        stack.append((position, ((form, 0), rest), (*env[:slot], value, *env[slot + 1 :]), bits + cost, capital, node, trace, count))
            else:
                assert op == CHOICE
                alive, table = False, piece[1].table(env)
                for option, cost in zip(table.options, table.bits, strict=True):
                    if _begins(option, text, position, capital):
                        stack.append((position, ((option, 0), rest), env, bits + cost, capital, node, trace, count))
        if alive and _enter(grammar, text, position, env, bits, node, trace, count, stack):
            path, end = [], grammar.plan[node, count]
            while trace is not None:
                template, trace = trace
                path.append(template)
            values = {name: env[slot].text for name, slot in grammar.slots.items() if env[slot] is not None}
            found.append(Derivation(bits + end.bits[end.options.index(END)], tuple(path[::-1]), values))
    return found


def _enter(
    grammar: Grammar, text: _Read, position: int, env: tuple[Any, ...], bits: float, node: str, trace: Any, count: int, stack: list[tuple[Any, ...]]
) -> bool:
    """A sentence has ended at `position`: push what may begin there; True if the story may end there."""
    table = grammar.plan[node, count]
    if position == len(text.text) and count:
        return END in table.options
    if count and not text.fits(" ", position):
        return False
    position += bool(count)
    for name, cost in zip(table.options, table.bits, strict=True):
        if name == END:
            continue
        inside = list(env)
        for slot, value in grammar.nodes[name].sets:
            inside[slot] = value
        templates = grammar.nodes[name].templates
        for template, more in zip(templates.options, templates.bits, strict=True):
            if _begins(template.pieces, text, position, True):
                stack.append((position, ((template.pieces, 0), None), tuple(inside), bits + cost + more, True, name, (template.id, trace), count + 1))
    return False


def _begins(pieces: Any, text: _Read, position: int, capital: bool) -> bool:
    """Whether a literal in front, if there is one, fits; sorts out most options before they cost anything."""
    return not pieces or pieces[0][0] != LITERAL or text.fits(pieces[0][2 if capital else 1], position)


def _candidates(grammar: Grammar, slot: int, env: tuple[Any, ...], form: str, capital: bool, letter: str) -> Iterator[tuple[Value, float]]:
    """The values that the variable may take now and that may begin with the letter, each with its bits."""
    table, avoid = grammar.source(slot, env), grammar.avoided(slot, env)
    barred = avoid is not None and avoid.place < len(table.options) and table.options[avoid.place] is avoid
    for value in _beginning(table, form, capital, letter):
        if not barred:
            yield value, table.bits[value.place]
        elif value is not avoid:
            yield value, log2(len(table.options) - 1)


@cache
def _beginning(table: Table, form: str, capital: bool, letter: str) -> list[Value]:
    """The values of a list whose form begins with the letter, or who knows with what; all, where the text has ended."""
    firsts = {value: value.form(form)[:1] for value in table.options}
    return [value for value, first in firsts.items() if not letter or not first or first[0][0] != LITERAL or first[0][2 if capital else 1][0] == letter]
