"""A proof that no text has two derivations, or the templates that stand in its way.

Two derivations of one text would part at some choice and from there on say the same. So every pair of alternatives, of
every choice in every sentence, is followed in step until their texts differ, in a grammar that allows more than the real one:
a variable may have any of its values each time it is printed (unless a list hangs on it), and nothing is known of what
earlier sentences have drawn. What is unambiguous there, sentence by sentence, is unambiguous. Then the entropy of a text
is that of its derivation.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, product
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
Step = tuple[str, list[Thread]]  # the text emitted (then one thread), or "" and the threads it branches into (none: the end)


def ambiguities(grammar: Grammar | None = None) -> list[str]:
    """One line for every two ways found to say the same; an empty list is the proof."""
    return sorted(_Search(grammar or fables()).run())


class _Search:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.slices = grammar, Slices(grammar)
        self.frames: dict[tuple[int, int, int], Frame] = {}
        self.used: dict[int, frozenset[int]] = {}
        self.found: set[str] = set()
        self.steps: dict[tuple[Any, ...], Step] = {}
        self.parents = {variable.of for variable in grammar.variables}
        self.first = False  # is it the first sentence of the story? Then what is not drawn in it is not drawn at all

    def run(self) -> set[str]:
        nodes, plan, starts = self.grammar.nodes, self.grammar.plan, {}
        for name, node in nodes.items():
            self.first = name in plan["", 0].options
            sets = dict(node.sets)
            for template in node.templates.options:
                starts[template] = self._thread(template.pieces, 0, None, sets, True)
                self._alone(template.id, starts[template])
        rivals = {(count == 0, tuple(name for name in table.options if name != END)) for (_, count), table in plan.items()}
        for self.first, names in sorted(rivals):
            threads = {starts[template]: template.id for name in names for template in nodes[name].templates.options}
            for one, other in _close(list(threads)):
                self._together(f"{threads[one]} and {threads[other]}", one, other)
        return self.found

    def _alone(self, name: str, start: Thread) -> None:
        """Every choice that a sentence can come to."""
        stack, seen = [start], {start}
        while stack:
            _, threads = self._step(stack.pop())
            for one, other in _close(threads):
                self._together(name, one, other)
            stack += (new := [thread for thread in threads if thread not in seen])
            seen.update(new)

    def _together(self, name: str, one: Thread, other: Thread) -> None:
        """Can both go on with the same text to the end of the sentence, or one be the beginning of the other?"""
        stack: list[tuple[str, Thread, Thread, str]] = [("", one, other, "")]
        seen = set()
        while stack:
            ahead, leader, follower, text = stack.pop()  # the leader has said `ahead`, the follower not yet; both have said `text`
            if (ahead, leader, follower) in seen:
                continue
            seen.add((ahead, leader, follower))
            if not ahead and leader == follower:
                self.found.add(f"{name}: two ways to say {text!r}")
                continue
            if follower.frame is None:
                if ahead or leader.frame is None:  # ends here: the other may end too, or go on as if the next sentence began
                    if ahead[:1] in ("", " "):
                        self.found.add(f"{name}: two ways to say {text!r}")
                    continue
                leader, follower = follower, leader
            word, threads = self._step(follower)
            same = min(len(word), len(ahead))
            if word[:same] != ahead[:same] or (leader.frame is None and not ahead and word[:1] not in ("", " ")):
                continue
            for thread in threads:
                if ahead and not word and _letter(thread) not in ("", ahead[0]):
                    continue
                if len(word) > len(ahead):
                    stack.append((word[same:], thread, leader, text + word[:same]))
                else:
                    stack.append((ahead[same:], leader, thread, text + word))

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


def _letter(thread: Thread) -> str:
    """The letter that the thread goes on with, if it is plain to see."""
    piece = thread.frame.pieces[thread.frame.index] if thread.frame else (None,)
    return str(piece[2 if thread.capital else 1][0]) if piece[0] == LITERAL else ""


def _close(threads: list[Thread]) -> Iterator[tuple[Thread, Thread]]:
    """The pairs of threads that may begin with the same letter."""
    groups: dict[str, list[Thread]] = defaultdict(list)
    for thread in threads:
        groups[_letter(thread)].append(thread)
    silent = groups.pop("", [])
    yield from combinations(silent, 2)
    for group in groups.values():
        yield from combinations(group, 2)
        yield from product(silent, group)
