"""Exact expectations over all stories, by a dynamic program over (sentences so far, node, state), one slice at a time.

A variable whose value no distribution of the slice depends on (a name, a place) is carried as the list it was drawn from: its
bits are the list's entropy, its length the list's mean. The others (gender, wish, ...) are carried by value, and only as
long as something that may still come depends on them. Nothing is sampled; the only error is that of floating point.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import log2
from typing import Any

from picollm.tasks.text.fables.grammar import END, Grammar, Template, Value, fables
from picollm.tasks.text.fables.pieces import CAPITAL, CHOICE, LITERAL, MOVING, PRINT, REFER, Piece, Pieces
from picollm.tasks.text.fables.slices import NOTHING, Slices, Slots

Env = tuple[Any, ...]
States = dict[Env, float]  # env -> probability
Outcome = tuple[float, float, States]  # expected bits, expected bytes, where it ends


@dataclass(frozen=True)
class Expectation:
    bits: float  # the entropy of a derivation, which is that of a text: no text has two derivations (docs/fables.md)
    bytes: float
    sentences: dict[int, float]  # how many -> probability
    templates: dict[str, float]  # template -> how often a story uses it

    @property
    def bits_per_byte(self) -> float:
        """The floor of a large corpus: all bits over all bytes."""
        return self.bits / self.bytes


def expected(grammar: Grammar | None = None) -> Expectation:
    """Entropy in bits and length in bytes of a story, both exact."""
    grammar = grammar or fables()
    slices = Slices(grammar)
    parts = [_Program(grammar, slices, part) for part in slices.slices]
    for part in parts:
        part.run()
    chain = next(part for part in parts if part.counts(NOTHING))
    return Expectation(sum(part.bits for part in parts), sum(part.bytes for part in parts), dict(chain.sentences), dict(sorted(chain.templates.items())))


class _Program:
    """The dynamic program over the slots of one slice; it adds up what this slice owns and passes over what it cannot see."""

    def __init__(self, grammar: Grammar, slices: Slices, slots: Slots) -> None:
        self.grammar, self.slices, self.slots = grammar, slices, slots
        self.bits = self.bytes = 0.0
        self.sentences: dict[int, float] = defaultdict(float)
        self.templates: dict[str, float] = defaultdict(float)
        parents = {grammar.variables[slot].of for slot in slots if slot < len(grammar.variables)}
        parents |= set(grammar.genders.values()) if slices.pronouns & slots else set()
        self.by_value = {
            slot
            for slot in slots
            if slot < len(grammar.variables) and (slot in parents or not all(value.plain for table in slices.lists(slot) for value in table.options))
        }
        self.memory: dict[tuple[int, Env, Slots], Outcome] = {}

    def counts(self, need: Slots) -> bool:
        return self.slices.owner(need) == self.slots

    def run(self) -> None:
        grammar, count, outside = self.grammar, 0, self.counts(NOTHING)
        layer: dict[str, States] = {"": {(None,) * grammar.width: 1.0}}
        while layer:
            following: dict[str, States] = {}
            for name, states in layer.items():
                table, mass = grammar.plan[name, count], sum(states.values())
                self.bits += mass * table.entropy * outside
                for target, p in zip(table.options, table.p, strict=True):
                    if target == END:
                        self.sentences[count] += mass * p
                        continue
                    self.bytes += mass * p * (count > 0) * outside  # the space between two sentences
                    into = following.setdefault(target, defaultdict(float))
                    for template, share in zip(grammar.nodes[target].templates.options, grammar.nodes[target].templates.p, strict=True):
                        self.templates[template.id] += mass * p * share
                    for env, weight in states.items():
                        bits, size, ends = self._sentence(target, env)
                        self.bits += weight * p * bits
                        self.bytes += weight * p * size
                        for end, share in ends.items():
                            into[end] += weight * p * share
            layer, count = following, count + 1

    def _sentence(self, name: str, env: Env) -> Outcome:
        """A sentence of the node; of its end, what may still matter."""
        key = (id(self.grammar.nodes[name]), env, NOTHING)
        if key not in self.memory:
            node, kept = self.grammar.nodes[name], self.slices.later[name]
            for slot, value in node.sets:
                env = _put(env, slot, value) if slot in self.slots else env
            parts = [(p, self._template(template, env)) for template, p in zip(node.templates.options, node.templates.p, strict=True)]
            bits, size, states = self._mix(node.templates.entropy * self.counts(NOTHING), parts)
            ends: States = defaultdict(float)
            for end, weight in states.items():
                ends[tuple([value if slot in kept else None for slot, value in enumerate(end)])] += weight
            self.memory[key] = bits, size, ends
        return self.memory[key]

    def _template(self, template: Template, env: Env) -> Outcome:
        """Walked once for all states that differ only in what the template does not look at."""
        looked = self.slices.looked[template]
        if looked.isdisjoint(self.slots):  # most templates, in most slices
            bits, size, _ = self._walk(template.pieces, (None,) * len(env), NOTHING)
            return bits, size, {env: 1.0}
        bits, size, states = self._walk(template.pieces, tuple([value if slot in looked else None for slot, value in enumerate(env)]), NOTHING)
        ends = {tuple([end[slot] if slot in looked else value for slot, value in enumerate(env)]): weight for end, weight in states.items()}
        return bits, size, ends

    def _walk(self, pieces: Pieces, env: Env, context: Slots) -> Outcome:
        """The pieces from one state, reached through choices that read `context`."""
        key = (id(pieces), env, context)
        if key not in self.memory:
            bits = size = 0.0
            states: States = {env: 1.0}
            for piece in pieces:
                after: States = defaultdict(float)
                for start, weight in states.items():
                    more_bits, more_size, ends = self._step(piece, start, context)
                    bits += weight * more_bits
                    size += weight * more_size
                    for end, share in ends.items():
                        after[end] += weight * share
                states = after
            self.memory[key] = bits, size, states
        return self.memory[key]

    def _step(self, piece: Piece, env: Env, context: Slots) -> Outcome:
        op, inner = piece[0], context | self.slices.reads(piece)
        if op == LITERAL:
            return 0.0, len(piece[1]) * self.counts(context), {env: 1.0}
        if op == CAPITAL or not inner <= self.slots:
            return 0.0, 0.0, {env: 1.0}  # what is inside is counted elsewhere and touches nothing here
        if op == PRINT and env[piece[1]] is None:
            entropy, drawn = self._draw(piece[1], env)
            bits = entropy * self.counts(inner)
            return self._mix(bits, [(p, self._realise(piece, after, inner)) for after, p in drawn.items()])
        if op in (PRINT, REFER):
            return self._realise(piece, env, inner)
        if op == CHOICE:
            table = piece[1].table(env)
            return self._mix(
                table.entropy * self.counts(inner), [(p, self._walk(option, env, inner)) for option, p in zip(table.options, table.p, strict=True)]
            )
        _, label, character, pieces = piece
        bits, size, states = self._walk(pieces, env, context)
        if label in MOVING and self.slices.pronouns <= self.slots:
            gender = self.grammar.genders[character]
            states = {_put(end, end[gender].focus, character): weight for end, weight in states.items()}
        return bits, size, states

    def _mix(self, bits: float, parts: list[tuple[float, Outcome]]) -> Outcome:
        size = 0.0
        states: dict[Env, float] = defaultdict(float)
        for p, (more_bits, more_size, ends) in parts:
            bits += p * more_bits
            size += p * more_size
            for end, share in ends.items():
                states[end] += p * share
        return bits, size, states

    def _realise(self, piece: Piece, env: Env, context: Slots) -> Outcome:
        value, form = env[piece[1]], piece[2]
        if isinstance(value, Value):
            return self._walk(value.form(form), env, context)
        mean = sum(p * _length(option.form(form)) for option, p in zip(value.options, value.p, strict=True))
        return 0.0, mean * self.counts(context), {env: 1.0}

    def _draw(self, slot: int, env: Env) -> tuple[float, States]:
        """The entropy of the variable's distribution, and the states in which it is drawn."""
        table, other = self.grammar.source(slot, env), self.grammar.variables[slot].unlike
        avoid = None if other is None else env[other]
        options, p, entropy = table.options, table.p, table.entropy
        if avoid is table or avoid in options:  # by list, or by value
            assert len(set(p)) == 1, f"{self.grammar.variables[slot].name}: a list that is drawn from twice must have equal weights"
            entropy = log2(len(options) - 1)
            options = tuple(value for value in options if value is not avoid)
            p = (1 / len(options),) * len(options)
        combination = self.grammar.combination
        if self.grammar.restricted and combination and slot in combination.outcomes:
            assert len(set(p)) == 1, f"{self.grammar.variables[slot].name}: outcomes must have equal weights"
            narrowed = len(options) / combination.one_in  # how likely it is that one of them is barred; which, is as likely for each
            entropy = (1 - narrowed) * entropy + narrowed * log2(len(options) - 1)
        if slot not in self.by_value:
            return entropy, {_put(env, slot, table): 1.0}
        return entropy, {_put(env, slot, value): share for value, share in zip(options, p, strict=True)}


def _length(pieces: Pieces) -> int:
    return sum(len(piece[1]) if piece[0] == LITERAL else _length(piece[3]) for piece in pieces)


def _put(env: Env, slot: int, value: Any) -> Env:
    return (*env[:slot], value, *env[slot + 1 :])
