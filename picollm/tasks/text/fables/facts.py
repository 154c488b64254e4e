"""What there is to say about the grammar in numbers: for the data card, and beside every corpus."""

import re
from collections.abc import Iterator
from typing import Any

from picollm.tasks.text.fables.entropy import expected
from picollm.tasks.text.fables.grammar import CATEGORIES, digest, fables
from picollm.tasks.text.fables.pieces import CHOICE, LITERAL, PRINT, REFER, SPAN, Pieces
from picollm.tasks.text.fables.slices import Slices


def statistics() -> dict[str, Any]:
    """Version and hash of the data, sizes, and the exact expectations: bits, bytes, bits per byte, sentences and categories a story; "training": without
    what is held out."""
    grammar, expectation, training = fables(), expected(), expected(fables(restricted=True))
    templates = {template.id: template.category for node in grammar.nodes.values() for template in node.templates.options}
    return {
        "version": grammar.data["version"],
        "sha256": digest(),
        "templates": len(templates),
        "nodes": len(grammar.data["nodes"]),
        "word_forms": len(word_forms()),
        "bits": expectation.bits,
        "bytes": expectation.bytes,
        "bits_per_byte": expectation.bits_per_byte,
        "sentences": sum(count * p for count, p in expectation.sentences.items()),
        "categories": {category: sum(expectation.templates[name] for name, own in templates.items() if own == category) for category in CATEGORIES},
        "training": {"bits": training.bits, "bytes": training.bytes, "bits_per_byte": training.bits_per_byte},
    }


def word_forms() -> list[str]:
    """Every word that a story can contain, in lower case, sorted."""
    grammar, seen = fables(), set[tuple[int, str]]()
    slices = Slices(grammar)
    texts = [text for node in grammar.nodes.values() for template in node.templates.options for text in _literals(slices, template.pieces, seen)]
    return sorted({word.lower() for text in texts for word in re.findall(r"[A-Za-z]+", text)})


def _literals(slices: Slices, pieces: Pieces, seen: set[tuple[int, str]]) -> Iterator[str]:
    for piece in pieces:
        if piece[0] == LITERAL:
            yield piece[1]
        elif piece[0] == CHOICE:
            for option in piece[1].options:
                yield from _literals(slices, option, seen)
        elif piece[0] == SPAN:
            yield from _literals(slices, piece[3], seen)
        elif piece[0] in (PRINT, REFER) and piece[1:] not in seen:
            seen.add(piece[1:])
            for table in slices.lists(piece[1]):
                for value in table.options:
                    yield from _literals(slices, value.form(piece[2]), seen)
