"""One text, sequence or sum in one model: where every head looks, and what comes next. An illustration: it says nothing of other texts.

Shapes: T tokens, L layers, H heads, V vocabulary.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from picollm.analysis import _probes
from picollm.analysis._attention import TINY, measures, uniform
from picollm.analysis._drawing import label
from picollm.analysis._head_maps import draw
from picollm.analysis._result import Subject
from picollm.core.errors import UserError
from picollm.explorer.inside import look, next_token, operator
from picollm.explorer.spelling import Spelling

LONGEST = 256  # tokens; of a longer text no map could be read
MOST = 3  # weights of a head that are told
LIKELIEST = 5  # next tokens
EXPLAINED = (
    "Shares of the weight from the second token on, which may overlap; most: the weights that lie furthest above even ones.",
    "One text is an illustration: without a text, heads are measured against untrained models.",
)


class OneText:
    """Raises UserError for a sequence that the model cannot take, and for layers or heads that it does not have."""

    def __init__(self, subject: Subject, spelling: Spelling, ids: np.ndarray, layer: int | None, heads: Sequence[int], parameter: str) -> None:
        limit = min(LONGEST, subject.model.max_length or LONGEST)
        if len(ids) > limit:
            most = "the model takes" if limit < LONGEST else "maps can be read up to"
            raise UserError(f"{parameter}: {len(ids)} tokens, {most} {limit}; shorten it")
        self.subject, self.ids = subject, ids
        self.context = spelling.context
        self.names = self._quoted(spelling, ids)
        self.labels = [label(text) for text in spelling.labels(ids)]
        likely = next_token(subject.model, ids)
        top = np.argsort(-likely, kind="stable")[:LIKELIEST]
        self.next = [(name, likely[token]) for name, token in zip(self._quoted(spelling, top), top, strict=True)]
        self.missing = subject.without_weights
        if self.missing:
            if layer is not None or heads:
                raise UserError(f"{'layer' if layer is not None else 'heads'}: {self.missing}; leave it out")
            return
        if len(ids) < 2:
            raise UserError(f"{parameter}: is a single token, which has nothing to look at but itself; give at least two")
        depth, n_head = subject.model.config.depth, subject.model.config.n_head
        self.layers = _chosen("layer", [] if layer is None else [layer], depth)
        self.heads = _chosen("heads", heads, n_head)
        weights = look(subject, ids).weights
        assert weights is not None
        self.weights = weights[np.ix_(self.layers, self.heads)]  # (L, H, T, T) of those asked for

    def _quoted(self, spelling: Spelling, ids: np.ndarray) -> list[str]:
        """Of a text in quotes: a token may be a blank."""
        return [json.dumps(text, ensure_ascii=False) if spelling.tokenizer.spells_text else text for text in spelling.labels(ids)]

    def figure(self) -> Figure | None:
        """The maps, where there are any."""
        if self.missing:
            return None
        size, signed = float(np.abs(self.weights).max()), bool((self.weights < 0).any())
        sign = ": signed, purple is positive, orange negative" if signed else ""
        title = f"{self.subject.model.config.attention.replace('_', ' ')} attention{sign}"
        return draw(self.weights, self.labels, title, self.layers, self.heads, size if signed else max(1.0, size))

    def report(self) -> str:
        beyond = f" (trained on {self.context} at a time)" if self.context and len(self.ids) > self.context else ""
        lines = [f"{len(self.ids)} tokens{beyond}: {' '.join(self.names)}", f"next: {', '.join(f'{name} {p:.4f}' for name, p in self.next)}"]
        if self.missing:
            return "\n".join([*lines, f"not looked at: heads: {self.missing}"])
        sizes, even = np.abs(self.weights), uniform(len(self.ids))
        shares = sizes / np.maximum(sizes.sum(-1, keepdims=True), TINY)
        found = measures(shares)
        lines += [operator(self.subject.model.config), "", f"{'if it were even':<20}{_spread(measures(even))}"]
        for row, layer in enumerate(self.layers):
            for column, head in enumerate(self.heads):
                spread = _spread({name: values[row, column] for name, values in found.items()})
                lines.append(f"layer {layer:<2} head {head:<2}    {spread}  most: {self._most(self.weights[row, column], shares[row, column] - even)}")
        return "\n".join([*lines, "", *EXPLAINED])

    def _most(self, matrix: np.ndarray, above: np.ndarray) -> str:
        """The weights (T, T) that are most `above` even ones (T, T): by size alone those of the first tokens, which see few others, would come first."""
        places = [divmod(int(place), len(matrix)) for place in np.argsort(-above, axis=None, kind="stable")[:MOST]]
        return ", ".join(f"{self.names[query]} -> {self.names[key]} {matrix[query, key]:.2f}" for query, key in places)


def stored_sequence(subject: Subject, family: str, missing: str | None) -> np.ndarray:
    """(T,) a sequence of the test split, of the length in the options."""
    if missing:
        raise UserError(f"seq-type: {missing}")
    if subject.is_text or not _probes.families(subject):
        raise UserError(f"seq-type: {_probes.NO_TYPES}; give --text")
    try:
        return _probes.sequences(subject, family, 1)[0]
    except UserError as error:
        raise UserError(str(error).replace("interpret.length", "length")) from error


def _chosen(parameter: str, asked: Sequence[int], count: int) -> list[int]:
    """Those asked for, or all."""
    wrong = next((number for number in asked if not 0 <= number < count), None)
    if wrong is not None:
        raise UserError(f"{parameter}: there is no {wrong}; the model has 0 to {count - 1}")
    return list(dict.fromkeys(asked)) or list(range(count))


def _spread(found: Mapping[str, np.ndarray]) -> str:
    itself, previous, first, distance = (float(found[name]) for name in ("self", "previous", "first", "distance"))
    return f"itself {itself:.2f}  previous {previous:.2f}  first {first:.2f}  {distance:5.1f} tokens back"
