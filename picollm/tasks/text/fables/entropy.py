"""Exact expectations over all stories, by a dynamic program over (sentences so far, node, what later choices depend on).

A variable whose value no later distribution depends on (a name, a place) is carried as the list it was drawn from: its
bits are the list's entropy, its length the list's mean. The others (gender, wish, ...) are carried by value, and only as
long as something that may still come depends on them. Nothing is sampled, nothing is rounded but by floating point.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from typing import Any

from picollm.tasks.text.fables.grammar import CAPITAL, CHOICE, END, LITERAL, MENTIONS, PRINT, Env, Grammar, Pieces, Table, Value, fables

States = dict[tuple[Any, ...], float]  # env -> probability


@dataclass(frozen=True)
class Expectation:
    bits: float  # the entropy of a derivation; that of a text too, as no text has two (docs/fables.md)
    bytes: float
    lengths: dict[int, float]  # number of sentences -> probability
    templates: dict[str, float]  # template -> how often it is used in a story

    @property
    def bits_per_byte(self) -> float:
        """The floor of a corpus: total bits over total bytes in the limit of many stories."""
        return self.bits / self.bytes


def expected(grammar: Grammar | None = None) -> Expectation:
    """Entropy in bits and length in bytes of a story, both exact."""
    return _Program(grammar or fables()).run()


class _Program:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.lists = [self._lists(slot) for slot in range(len(grammar.variables))]
        self.keys = self._keys()
        self.live = self._live()
        self.bits = self.bytes = 0.0
        self.uses: dict[str, float] = defaultdict(float)
        self.outcomes: dict[tuple[str, Env], tuple[float, float, dict[str, float], States]] = {}

    def run(self) -> Expectation:
        bits = size = 0.0
        lengths: dict[int, float] = defaultdict(float)
        uses: dict[str, float] = defaultdict(float)
        layer: dict[str, States] = {"": {(None,) * self.grammar.width: 1.0}}
        count = 0
        while layer:
            following: dict[str, States] = {}
            for name, states in layer.items():
                table = self.grammar.plan[name, count]
                mass = sum(states.values())
                bits += mass * table.entropy
                for target, p in zip(table.options, table.p, strict=True):
                    if target == END:
                        lengths[count] += mass * p
                        continue
                    size += mass * p * bool(count)  # the space between two sentences
                    for env, weight in states.items():
                        more_bits, more_bytes, templates, ends = self._outcome(target, env)
                        bits += weight * p * more_bits
                        size += weight * p * more_bytes
                        for template, share in templates.items():
                            uses[template] += weight * p * share
                        into = following.setdefault(target, defaultdict(float))
                        for end, share in ends.items():
                            into[end] += weight * p * share
            layer, count = following, count + 1
        return Expectation(bits, size, dict(lengths), dict(sorted(uses.items())))

    def _outcome(self, name: str, env: tuple[Any, ...]) -> tuple[float, float, dict[str, float], States]:
        """One sentence of the node: expected bits and bytes, how often each template, and the states it ends in."""
        node, live = self.grammar.nodes[name], self.live[name]
        values = dict(node.sets)
        env = tuple(values.get(slot, value if slot in live else None) for slot, value in enumerate(env))
        if (name, env) not in self.outcomes:
            table = node.templates.table(env)
            self.bits, self.bytes = table.entropy, 0.0
            ends: States = defaultdict(float)
            for template, p in zip(table.options, table.p, strict=True):
                for end, weight in self._walk(template.pieces, {env: p}).items():
                    ends[end] += weight
            uses = {template.id: p for template, p in zip(table.options, table.p, strict=True)}
            self.outcomes[name, env] = self.bits, self.bytes, uses, ends
        return self.outcomes[name, env]

    def _walk(self, pieces: Pieces, states: States) -> States:
        for piece in pieces:
            op = piece[0]
            if op == LITERAL:
                self.bytes += len(piece[1]) * sum(states.values())
            elif op == PRINT:
                states = self._print(piece[1], piece[2], states)
            elif op == CHOICE:
                states = _merge(self._choose(piece[1], env, weight) for env, weight in states.items())
            elif op != CAPITAL:
                _, label, character, inner = piece
                states = self._walk(inner, states)
                if label in MENTIONS:
                    gender = self.grammar.genders[character]
                    states = _merge({_put(env, env[gender].focus, character): weight} for env, weight in states.items())
        return states

    def _choose(self, choice: Any, env: tuple[Any, ...], weight: float) -> States:
        table = choice.table(env)
        self.bits += weight * table.entropy
        return _merge(self._walk(option, {env: weight * p}) for option, p in zip(table.options, table.p, strict=True))

    def _print(self, slot: int, form: str, states: States) -> States:
        return _merge(self._realise(slot, form, drawn, p) for env, weight in states.items() for drawn, p in (self._draw(slot, env, weight) if env[slot] is None else {env: weight}).items())

    def _realise(self, slot: int, form: str, env: tuple[Any, ...], weight: float) -> States:
        value = env[slot]
        if isinstance(value, Value):
            return self._walk(value.form(form), {env: weight})
        for option, p in zip(value.options, value.p, strict=True):
            self.bytes += weight * p * sum(len(piece[1]) for piece in option.form(form))
        return {env: weight}

    def _draw(self, slot: int, env: tuple[Any, ...], weight: float) -> States:
        table = self.grammar.source(slot, env)
        options, p, entropy = table.options, table.p, table.entropy
        other = self.grammar.variables[slot].unlike
        avoid = None if other is None else env[other]
        if avoid is table or avoid in table.options:
            assert len(set(p)) == 1, f"{self.grammar.variables[slot].name}: a list to draw from twice must have equal weights"
            entropy = log2(len(options) - 1)
            if avoid is not table:
                options = tuple(value for value in options if value is not avoid)
                p = (1 / len(options),) * len(options)
        self.bits += weight * entropy
        if slot not in self.keys:
            return {_put(env, slot, table): weight}
        return {_put(env, slot, value): weight * share for value, share in zip(options, p, strict=True)}

    def _lists(self, slot: int) -> list[Table]:
        """Every list that the variable may ever be drawn from."""
        variable = self.grammar.variables[slot]
        if variable.of is None:
            return [self.grammar.lists[variable.list]]
        tables = [value.lists.get(variable.list) for table in self._lists(variable.of) for value in table.options]
        return list({id(table): table for table in tables if table is not None}.values())

    def _keys(self) -> set[int]:
        """The variables carried by value: lists hang on them, or printing them does more than print."""
        grammar = self.grammar
        keys = {variable.of for variable in grammar.variables if variable.of is not None} | set(grammar.genders.values())
        return keys | {slot for slot, tables in enumerate(self.lists) if not all(value.plain for table in tables for value in table.options)}

    def _live(self) -> dict[str, set[int]]:
        """For each node the slots that it or any node after it looks at."""
        grammar = self.grammar
        live = {name: set(grammar.focus.values()) for name in grammar.nodes}
        seen: set[tuple[int, str]] = set()

        def look(pieces: Pieces) -> set[int]:
            slots: set[int] = set()
            for piece in pieces:
                if piece[0] == PRINT:
                    slots |= look_variable(piece[1], piece[2])
                elif piece[0] == CHOICE:
                    slots |= {test.slot for test in piece[1].tests}.union(*(look(option) for option in piece[1].options))
                elif piece[0] not in (LITERAL, CAPITAL):
                    slots |= look(piece[3]) | ({grammar.genders[piece[2]]} if piece[2] else set())
            return slots

        def look_variable(slot: int, form: str) -> set[int]:
            variable = grammar.variables[slot]
            slots = {slot} | {other for other in (variable.of, variable.unlike) if other is not None}
            if (slot, form) not in seen:
                seen.add((slot, form))
                slots = slots.union(*(look(value.form(form)) for table in self.lists[slot] for value in table.options))
                seen.discard((slot, form))
            return slots

        for name, node in grammar.nodes.items():
            live[name] |= {test.slot for test in node.templates.tests}.union(*(look(template.pieces) for template in node.templates.options))
        for _ in grammar.nodes:  # long enough to reach everybody
            for (name, _), table in grammar.plan.items():
                if name:
                    live[name] = live[name].union(*(live[target] for target in table.options if target != END))
        return live


def _put(env: tuple[Any, ...], slot: int, value: Any) -> tuple[Any, ...]:
    return (*env[:slot], value, *env[slot + 1 :])


def _merge(parts: Iterable[States]) -> States:
    merged: States = defaultdict(float)
    for part in parts:
        for env, weight in part.items():
            merged[env] += weight
    return merged
