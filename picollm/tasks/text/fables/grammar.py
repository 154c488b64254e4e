"""The fables grammar: the YAML data compiled into tuples that a generator, a parser and a dynamic program can walk.

A node stands in the plan once for every tense in which a story can come to it. What is held out (`heldout` in the data) is a part of the
grammar that the stories of training never use: some templates, and combinations of a name, an object and an outcome.

The state of a story is one sequence `env`: a slot for each variable (None until drawn), then one for each pronoun,
which holds the character that it would refer to. Generator, parser and dynamic program share this module and `pieces`, nothing else.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from picollm.tasks.text.fables import inflect
from picollm.tasks.text.fables.notation import tokens_of
from picollm.tasks.text.fables.pieces import CAPITAL, CHOICE, LITERAL, PRINT, REFER, SPAN, Choice, Condition, Env, Piece, Pieces, Table

FOLDER = Path(__file__).parent
FILES = ("words.yaml", "wishes.yaml", "plan.yaml")
CATEGORIES = ("simple", "complex", "long-range", "coreference", "negation", "question", "technical", "ambiguous", "comparative", "temporal")
SLOTS = ("opening", "wish", "attempt", "failure", "question", "reported speech", "comparison", "turn of time", "resolution", "lesson")
END = "END"  # the plan's last node


class Value:
    """One entry of a list: a text in several forms, and the lists that hang on it."""

    def __init__(self, grammar: "Grammar", entry: Any, place: int) -> None:
        self.place = place  # in its list
        self.record: dict[str, Any] = entry if isinstance(entry, dict) else {"text": entry}
        self.text: str = self.record["text"]
        self.plural = self.record.get("number") == "plural"
        self.lists = {name: grammar.values(entries) for name, entries in self.record.items() if isinstance(entries, list)}
        self.focus = grammar.focus.get(self.text, -1)  # the slot of the pronoun, if the value is a gender
        self.plain = not any(re.search(r"[{(^]", form) for form in self.record.values() if isinstance(form, str))
        self._grammar = grammar
        self._forms: dict[str, Pieces] = {"-": ()}

    def form(self, name: str) -> Pieces:
        if name not in self._forms:
            self._forms[name] = self._compile(name)
        return self._forms[name]

    def _compile(self, name: str) -> Pieces:
        grammar, (form, _, person) = self._grammar, name.partition("/")
        if form in self.record:
            return grammar.compile(self.record[form])
        if form.startswith("~"):
            base, tense = form[1:].split(".")
            return grammar.compile(inflect.verb(base, tense, self.plural, grammar.data["verbs"]))
        if form == "a":
            return grammar.compile(inflect.with_article(self.text))
        if form == "pl":
            return grammar.compile(inflect.plural_of(self.text))
        assert form in ("base", "s", "past", "ing"), f"{self.text!r} has no form {name!r}"
        return grammar.compile(self.text, form, person or "third")


@dataclass(frozen=True, eq=False)
class Variable:
    """Where a variable's values come from: the list `name`, hanging on the value of slot `of` (None: a list of its own)."""

    name: str
    list: str
    of: int | None
    unlike: int | None  # the slot of a variable with values from the same list, or from a disjoint one


class Combination:
    """Which outcomes are held out for which name and object: for each object and outcome, one name in `one_in`.

    Names are equally likely, so that a held-out outcome is as rare whatever came before, and entropy.py needs no names.
    """

    def __init__(self, grammar: "Grammar", name: str, object: str, outcomes: list[str], one_in: int) -> None:
        self.name, self.object, self.one_in = grammar.slots[name], grammar.slots[object], one_in
        self.outcomes = {grammar.slots[outcome] for outcome in outcomes}

    def barred(self, table: Table, env: Env) -> Value | None:
        """The held-out value of an outcome's list; no list holds two for the same name."""
        start = env[self.name].place + 7 * env[self.object].place
        return next((value for value in table.options if (start + 3 * value.place) % self.one_in == 0), None)


@dataclass(frozen=True, eq=False)
class Template:
    id: str  # node/name
    category: str  # one of CATEGORIES
    pieces: Pieces
    readings: tuple[str, ...]  # of an ambiguous sentence
    heldout: bool  # does training never use it?


@dataclass(frozen=True, eq=False)
class Node:
    name: str
    slot: str  # one of SLOTS
    sets: tuple[tuple[int, Value], ...]
    templates: Table


class Grammar:
    """Everything the data says, compiled. `data` is the three files merged; tests make small grammars of their own.

    `restricted`: without what is held out, the grammar of the training, validation and test stories.
    """

    def __init__(self, data: dict[str, Any], restricted: bool = False) -> None:
        self.data, self.restricted = data, restricted
        names = list(data["variables"])
        self.slots = {name: slot for slot, name in enumerate(names)}
        genders = [
            entry for name in {entry["gender"]: None for entry in data["characters"].values()} for entry in data["lists"][data["variables"][name]["list"]]
        ]
        pronouns = dict.fromkeys(entry["text"] for entry in genders)
        self.focus = {pronoun: len(names) + i for i, pronoun in enumerate(pronouns)}
        self.width = len(names) + len(self.focus)
        self.characters = {name: number for number, name in enumerate(data["characters"])}
        self.genders = {name: self.slots[entry["gender"]] for name, entry in data["characters"].items()}
        self._lists: dict[int, Table] = {}
        self.lists = {name: self.values(entries) for name, entries in data["lists"].items()}
        self.variables = [self._variable(name, **entry) for name, entry in data["variables"].items()]
        heldout = data.get("heldout", {})
        self.heldout_templates = frozenset(heldout.get("templates", ()))
        self.combination = Combination(self, **heldout["combinations"]) if "combinations" in heldout else None
        self._mentions: dict[tuple[str, str, bool], Choice] = {}
        self.nodes: dict[str, Node] = {}
        self.next: dict[str, dict[str, float]] = {}
        self.next[""] = {self._key(name, data["nodes"][name].get("tense", self.tenses[0])): weight for name, weight in data["start"].items()}
        self.plan = self._plan()

    def values(self, entries: list[Any]) -> Table:
        """The table of a list; one and the same for two uses of one YAML anchor."""
        if id(entries) not in self._lists:
            values = tuple(Value(self, entry, place) for place, entry in enumerate(entries))
            assert len({value.text for value in values}) == len(values), f"a list holds an entry twice: {[value.text for value in values]}"
            self._lists[id(entries)] = Table(values, tuple(float(value.record.get("weight", 1)) for value in values))
        return self._lists[id(entries)]

    def source(self, slot: int, env: Env) -> Table:
        """The list from which the variable would be drawn now."""
        variable = self.variables[slot]
        if variable.of is None:
            return self.lists[variable.list]
        parent = env[variable.of]
        assert parent is not None, f"{variable.name} is realised before the variable it hangs on"
        return parent.lists[variable.list]  # type: ignore[no-any-return]

    def avoided(self, slot: int, env: Env) -> Value | None:
        """The value that the variable must not take, if it is in its list; the others are then equally likely."""
        other = self.variables[slot].unlike
        if other is not None:
            return env[other]  # type: ignore[no-any-return]
        return self.barred(slot, env) if self.restricted else None

    def barred(self, slot: int, env: Env) -> Value | None:
        """The outcome that would make a held-out combination."""
        return self.combination.barred(self.source(slot, env), env) if self.combination and slot in self.combination.outcomes else None

    def compile(self, text: str, tense: str = "past", person: str = "third", case: str = "he") -> Pieces:
        """A text of the data as pieces; `tense` is that of its marked verbs, `case` replaces CASE in the text of a mention."""
        pieces, rest = self._sequence(tokens_of(text), tense, person, case)
        assert not rest, f"unbalanced brackets in {text!r}"
        return pieces

    def _sequence(self, tokens: list[re.Match[str]], tense: str, person: str, case: str) -> tuple[Pieces, list[re.Match[str]]]:
        pieces: list[Piece] = []
        while tokens and tokens[0]["mark"] not in ("|", ")", "]"):
            token, *tokens = tokens
            if token["mark"] == "(":
                options: list[Pieces] = []
                while not options or tokens[0]["mark"] == "|":
                    option, tokens = self._sequence(tokens[1:] if options else tokens, tense, person, case)
                    options.append(option)
                tokens = tokens[1:]
                pieces.append((CHOICE, Choice(options)))
            elif token["label"]:
                inner, tokens = self._sequence(tokens, tense, person, case)
                tokens = tokens[1:]
                pieces.append((SPAN, token["label"], token["who"], inner))
            elif token["mark"]:
                pieces.append((CAPITAL,))
            elif token["name"]:
                pieces.append(self._reference(token, tense, person, case))
            elif token["subject"]:
                pieces.append((PRINT, self.slots[token["subject"]], f"~{token['verb']}.{token['tense'] or tense}"))
            else:
                plural = (token["number"] or self.data["persons"][person].get("number", "s")) == "p"
                verb = token["verb"]
                word = inflect.verb(verb, token["tense"] or tense, plural, self.data["verbs"]) if verb else token["literal"]
                if pieces and pieces[-1][0] == LITERAL:
                    word = pieces.pop()[1] + word
                pieces.append((LITERAL, word, word[0].upper() + word[1:]))
        return tuple(pieces), tokens

    def _reference(self, token: re.Match[str], tense: str, person: str, case: str) -> Piece:
        name, form = token["name"], tense if token["form"] == "told" else token["form"]
        if name in self.slots:
            form = (form or "base").replace("CASE", case)
            op = REFER if token["form"] == "CASE" else PRINT
            return (op, self.slots[name], f"{form}/{token['person']}" if token["person"] else form)
        if name not in self.characters:  # {he} in a phrase: who that is depends on the person it is said in
            teller = self.data["persons"][person]
            name, form = teller["character"], teller.get(name, name)
        if form:
            word = (LITERAL, form, form[0].upper() + form[1:]) if form in self.data["speech"] else (REFER, self.genders[name], form)
            return (SPAN, "pronoun", name, (word,))
        return (CHOICE, self._mention(name, token["case"] or "he", bool(token["full"])))

    def _mention(self, character: str, case: str, full: bool) -> Choice:
        key = (character, case, full)
        if key not in self._mentions:
            entries = self.data["characters"][character]["mentions"]
            entries = [entry for entry in entries if not (full and "focus" in entry.get("when", ()))]
            conditions = [self._conditions(entry, character) for entry in entries]
            self._mentions[key] = Choice([self.compile(entry["text"], case=case) for entry in entries], [entry["weight"] for entry in entries], conditions)
        return self._mentions[key]

    def _conditions(self, entry: dict[str, Any], character: str) -> tuple[Condition, ...]:
        return tuple(
            Condition(self.genders[character], character=character) if test == "focus" else Condition(self.slots[test.lstrip("-")], not test.startswith("-"))
            for test in entry.get("when", ())
        )

    def _variable(self, name: str, list: str, of: str | None = None, unlike: str | None = None) -> Variable:
        return Variable(name, list, None if of is None else self.slots[of], None if unlike is None else self.slots[unlike])

    @property
    def tenses(self) -> list[str]:
        """As forms of a verb; the first is that of a story which does not say."""
        return self.data.get("tenses", ["past"])  # type: ignore[no-any-return]

    def _key(self, name: str, tense: str) -> str:
        """The node in this tense, by its key in `nodes`; made, with all that may follow it, when it is first asked for."""
        key = name if tense == self.tenses[0] else f"{name}.{tense}"
        if key not in self.nodes:
            entry = self.data["nodes"][name]
            self.nodes[key] = self._node(name, entry, tense)
            self.next[key] = {target if target == END else self._key(target, tense): weight for target, weight in entry["next"].items()}
        return key

    def _node(self, name: str, entry: dict[str, Any], tense: str) -> Node:
        assert entry["slot"] in SLOTS, f"{name}: unknown slot {entry['slot']}"
        templates, weights = [], []
        for key, item in entry["templates"].items():
            item = item if isinstance(item, dict) else {"text": item}
            category, heldout = item.get("category", "simple"), f"{name}/{key}" in self.heldout_templates
            assert category in CATEGORIES, f"{name}/{key}: unknown category {category}"
            if not (heldout and self.restricted) and item.get("tense", tense) == tense:
                pieces = self.compile(entry.get("begins", "") + item["text"], tense)
                templates.append(Template(f"{name}/{key}", category, pieces, tuple(item.get("readings", ())), heldout))
                weights.append(float(item.get("weight", 1)))
        sets = [
            (variable, value)
            for variable, text in entry.get("sets", {}).items()
            for value in self.lists[self.data["variables"][variable]["list"]].options
            if value.text == text
        ]
        return Node(name, entry["slot"], tuple((self.slots[variable], value) for variable, value in sets), Table(tuple(templates), tuple(weights)))

    def _plan(self) -> dict[tuple[str, int], Table]:
        """(node, sentences so far) -> what may come next: whatever still ends within the longest and after the shortest story."""
        shortest, longest = self.data["shortest"], self.data["longest"]
        ends = {END: {0}} | {name: set() for name in self.nodes}  # in how many more sentences a story can end, this node's included
        for _ in range(longest):
            for name in self.nodes:
                ends[name] |= {1 + more for target in self.next[name] for more in ends[target] if more < longest}
        plan = {}
        for count in range(longest + 1):
            for name, targets in self.next.items():
                kept = {target: float(weight) for target, weight in targets.items() if any(shortest <= count + more <= longest for more in ends[target])}
                if kept and (name or not count):
                    plan[name, count] = Table(tuple(kept), tuple(kept.values()))
        return plan


def read(folder: Path = FOLDER) -> dict[str, Any]:
    """The data of the three files, their lists merged."""
    data: dict[str, Any] = {"lists": {}}
    for name in FILES:
        content = YAML(typ="safe").load((folder / name).read_text(encoding="ascii"))
        data["lists"] |= content.pop("lists", {})
        data |= content
    return data


@lru_cache
def fables(restricted: bool = False) -> Grammar:
    """The grammar of the corpus, or what training sees of it."""
    return Grammar(read(), restricted)


def digest(folder: Path = FOLDER) -> str:
    """SHA-256 over the data files: which grammar a corpus comes from."""
    return hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in FILES)).hexdigest()
