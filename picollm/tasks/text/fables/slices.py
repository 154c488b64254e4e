"""Which parts of a story's state depend on which: the grammar cut into slices that can be computed one by one.

An expectation is a sum, so every choice and every printed byte may be counted in a state space of its own, as small as
its distribution allows. Who is called "she" does not depend on what she wishes for: two slices with hundreds of states
each, where their product would have millions.
"""

from collections import defaultdict
from functools import lru_cache

from picollm.tasks.text.fables.grammar import END, Grammar
from picollm.tasks.text.fables.pieces import CHOICE, MOVING, PRINT, REFER, SPAN, Piece, Pieces, Table

Slots = frozenset[int]
NOTHING: Slots = frozenset()


class Slices:
    """`slices`: the sets of slots to compute with; `looked[template]`, `later[node]`: the slots that the template looks at, or any node after this one."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.pronouns = frozenset(grammar.focus.values())
        self._influences: dict[int, set[int]] = defaultdict(set)
        self._needs: set[Slots] = {NOTHING}
        self._looked: set[int] = set()
        self.looked = {template: self.looks(template.pieces) for node in grammar.nodes.values() for template in node.templates.options}
        looked = {name: NOTHING.union(*(self.looked[template] for template in node.templates.options)) for name, node in grammar.nodes.items()}
        self.later: dict[str, Slots] = dict.fromkeys(grammar.nodes, NOTHING)
        for _ in grammar.nodes:  # often enough for every node to hear of every later one
            for (name, _), table in grammar.plan.items():
                if name:
                    self.later[name] = self.later[name].union(*(looked[target] | self.later[target] for target in table.options if target != END))
        closures = sorted({self._closure(need) for need in self._needs}, key=lambda slots: (-len(slots), sorted(slots)))
        self.slices: list[Slots] = []
        for closure in closures:
            if not any(closure <= other for other in self.slices):
                self.slices.append(closure)
        self.owner = lru_cache(maxsize=None)(self._owner)

    def reads(self, piece: Piece) -> Slots:
        """The slots that the piece's own probabilities and bytes depend on, those of the pieces within it aside."""
        if piece[0] == CHOICE:
            focus = self.pronouns if any(test.character for test in piece[1].tests) else NOTHING
            return focus.union(test.slot for test in piece[1].tests)
        if piece[0] in (PRINT, REFER):
            variable = self.grammar.variables[piece[1]]
            return frozenset(slot for slot in (piece[1], variable.of, variable.unlike) if slot is not None)
        return NOTHING

    def lists(self, slot: int) -> list[Table]:
        """Every list that the variable may ever be drawn from."""
        variable = self.grammar.variables[slot]
        if variable.of is None:
            return [self.grammar.lists[variable.list]]
        tables = [value.lists.get(variable.list) for table in self.lists(variable.of) for value in table.options]
        return list({id(table): table for table in tables if table is not None}.values())

    def looks(self, pieces: Pieces) -> Slots:
        """The slots that the pieces or anything within them look at."""
        self._looked = set()
        self._visit(pieces, NOTHING)
        return frozenset(self._looked)

    def _owner(self, need: Slots) -> Slots:
        """The slice in which something that depends on the slots `need` is counted."""
        closure = self._closure(need)
        return next(part for part in reversed(self.slices) if closure <= part)

    def _closure(self, need: Slots) -> Slots:
        """`need` and all that influences it, at any distance."""
        found, todo = set(need), list(need)
        while todo:
            new = self._influences[todo.pop()] - found
            found |= new
            todo += new
        return frozenset(found)

    def _visit(self, pieces: Pieces, context: Slots) -> None:
        """Note what the pieces depend on, given that they are reached through choices that read `context`."""
        for piece in pieces:
            inner = context | self.reads(piece)
            self._looked |= inner
            self._needs.add(inner)
            if piece[0] == CHOICE:
                for option in piece[1].options:
                    self._visit(option, inner)
            elif piece[0] == SPAN:
                self._visit(piece[3], inner)
                if piece[1] in MOVING:
                    self._looked |= self.pronouns
                    for slot in self.pronouns:
                        self._influences[slot] |= context | {self.grammar.genders[piece[2]]}
            elif piece[0] in (PRINT, REFER):
                if piece[0] == PRINT:
                    self._influences[piece[1]] |= inner - {piece[1]}
                for table in self.lists(piece[1]):
                    for value in table.options:
                        if not value.plain:
                            self._visit(value.form(piece[2]), inner)
