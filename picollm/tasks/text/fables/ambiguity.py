"""A proof that no text has two derivations, or the templates that stand in its way.

Two derivations of one text part at some choice and from there on say the same. So all sentences that may stand in the same place are
followed at once, letter by letter, as one set of threads for every text that they can begin with: the text is ambiguous if a set comes to
hold the same thread twice, or two that end. The grammar followed allows more than the real one: a variable may have any of its values each
time it is printed (unless a list hangs on it), nothing is known of what earlier sentences have drawn, and two nodes are rivals if a chain
of rivals connects them. What is unambiguous there, sentence by sentence, is unambiguous. Then the entropy of a text is that of its derivation.
"""

from collections import defaultdict
from collections.abc import Iterator
from os.path import commonprefix
from typing import Any, NamedTuple

from picollm.tasks.text.fables.grammar import END, Grammar, Value, fables
from picollm.tasks.text.fables.pieces import CAPITAL, CHOICE, LITERAL, SPAN, Choice, Pieces
from picollm.tasks.text.fables.slices import Slices

DRAWN = "drawn"  # stands for the value of a variable on which no list hangs


class Frame:
    """Pieces yet to come. Equal frames are one object, so that a state can be recognised."""

    def __init__(self, pieces: Pieces, index: int, rest: "Frame | None") -> None:
        self.pieces, self.index, self.rest = pieces, index, rest


class Thread(NamedTuple):
    frame: Frame | None  # None: the sentence has ended
    drawn: tuple[tuple[int, Any], ...]  # what this sentence has drawn and still asks for
    capital: bool


Drawn = dict[int, Any]
Item = tuple[str, Thread, str]  # the text that the thread has said beyond the common one, the thread, and its template
Step = tuple[str, list[Thread]]  # the text emitted (then one thread), or "" and the threads it branches into (none: the end)


def ambiguities(grammar: Grammar | None = None, only: frozenset[str] = frozenset()) -> list[str]:
    """One line for every two ways found to say the same; an empty list is the proof. `only`: of these nodes; all, where none are given."""
    return sorted(_Search(grammar or fables()).run(only))


class _Search:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.slices = grammar, Slices(grammar)
        self.frames: dict[tuple[int, int, int], Frame] = {}
        self.used: dict[int, frozenset[int]] = {}
        self.found: set[str] = set()
        self.items: dict[Item, Item] = {}  # equal items are one object, or memory would be full of them
        self.steps: dict[tuple[Any, ...], Step] = {}
        self.parents = {variable.of for variable in grammar.variables}
        self.first = False  # is it the first sentence of the story? Then what is not drawn in it is not drawn at all

    def run(self, only: frozenset[str] = frozenset()) -> set[str]:
        """`only`: the nodes to look at; all, where there are none."""
        nodes, plan = self.grammar.nodes, self.grammar.plan
        for self.first in (True, False):
            rivals = [{name for name in table.options if name != END} for (_, count), table in plan.items() if (count == 0) == self.first]
            for names in _connected(rivals):
                chosen = sorted(names & only if only else names)
                starts = {
                    ("", self._thread(template.pieces, 0, None, dict(nodes[name].sets), True), template.id)
                    for name in chosen
                    for template in nodes[name].templates.options
                }
                self._follow(frozenset(starts))
        return self.found

    def _follow(self, start: frozenset[Item]) -> None:
        stack, seen = [(start, "")], {start}
        while stack:
            state, text = stack.pop()
            groups: dict[str, list[Item]] = defaultdict(list)
            for item in self._ready(state, text):
                groups[item[0][:1]].append(item)
            ended = groups.pop("", [])
            if len(ended) > 1 or (ended and " " in groups):  # the other may go on as if the next sentence began
                self._report([*ended, *groups[" "]], text)
            for group in groups.values():
                same = commonprefix([ahead for ahead, _, _ in group])  # noqa: RUF071, for it is of letters
                items = ((ahead[len(same) :], thread, name) for ahead, thread, name in group)
                after = frozenset(self.items.setdefault(item, item) for item in items)
                if after not in seen:
                    seen.add(after)
                    stack.append((after, text + same))

    def _ready(self, state: frozenset[Item], text: str) -> set[Item]:
        """The threads, branched until each has something to say or has ended."""
        todo, met, ready = list(state), set[Item](), set[Item]()
        while todo:
            item = todo.pop()
            if item in met:
                self._report([item, item], text)
                continue
            met.add(item)
            ahead, thread, name = item
            if ahead or thread.frame is None:
                ready.add(item)
            else:
                word, threads = self._step(thread)
                todo += [(word, other, name) for other in threads]
        return ready

    def _report(self, items: list[Item], text: str) -> None:
        self.found.add(f"{' and '.join(sorted({name for _, _, name in items}))}: two ways to say {text!r}")

    def _step(self, thread: Thread) -> Step:
        key = (*thread, self.first)
        if key not in self.steps:
            self.steps[key] = self._advance(thread.frame, dict(thread.drawn), thread.capital)
        return self.steps[key]

    def _advance(self, frame: Frame | None, env: Drawn, capital: bool) -> Step:
        if frame is None:
            return "", []
        piece, index, rest = frame.pieces[frame.index], frame.index + 1, frame.rest
        if piece[0] == LITERAL:
            return piece[2 if capital else 1], [self._thread(frame.pieces, index, rest, env, False)]
        after = self._frame(frame.pieces, index, rest)
        if piece[0] == CAPITAL:
            return "", [self._thread((), 0, after, env, True)]
        if piece[0] == SPAN:
            return "", [self._thread(piece[3], 0, after, env, capital)]
        if piece[0] == CHOICE:
            return "", [self._thread(option, 0, after, env, capital) for option in self._options(piece[1], env)]
        slot, form = piece[1:]
        values = self._values(slot, form, env)
        return "", [self._thread(value.form(form), 0, after, env | {slot: value if slot in self.parents else DRAWN}, capital) for value in values]

    def _options(self, choice: Choice, env: Drawn) -> Iterator[Pieces]:
        """The options that may be open; who is in focus is not known."""
        for option, tests in zip(choice.options, choice.conditions, strict=True):
            drawn = [(test.wanted, test.slot in env) for test in tests if test.character is None]
            if not any((is_drawn and not wanted) or (self.first and wanted and not is_drawn) for wanted, is_drawn in drawn):
                yield option

    def _values(self, slot: int, form: str, env: Drawn) -> Iterator[Any]:
        """What the variable may be: any value of its list, or of all its lists if nobody knows which; of a drawn one, one value for every text."""
        if isinstance(env.get(slot), Value):
            yield env[slot]
            return
        variable = self.grammar.variables[slot]
        known = variable.of is None or variable.of in env
        tables = [self.grammar.source(slot, env)] if known else self.slices.lists(slot)
        yield from {value.form(form) if slot in env else value.text: value for table in tables for value in table.options}.values()

    def _thread(self, pieces: Pieces, index: int, rest: Frame | None, env: Drawn, capital: bool) -> Thread:
        frame = self._frame(pieces, index, rest)
        used = self._used(frame)
        return Thread(frame, tuple(sorted((slot, value) for slot, value in env.items() if slot in used)), capital)

    def _frame(self, pieces: Pieces, index: int, rest: Frame | None) -> Frame | None:
        if index == len(pieces):
            return rest
        key = (id(pieces), index, id(rest))
        if key not in self.frames:
            self.frames[key] = Frame(pieces, index, rest)
        return self.frames[key]

    def _used(self, frame: Frame | None) -> frozenset[int]:
        """The variables that the pieces to come ask for."""
        if frame is None:
            return frozenset()
        if id(frame) not in self.used:
            self.used[id(frame)] = self.slices.looks(frame.pieces[frame.index :]) | self._used(frame.rest)
        return self.used[id(frame)]


def _connected(sets: list[set[str]]) -> list[set[str]]:
    """Sets that share something, directly or through others, made one."""
    merged: list[set[str]] = []
    for one in sets:
        apart = [other for other in merged if not other & one]
        merged = [*apart, one.union(*(other for other in merged if other & one))]
    return merged
