"""Models whose every head is known, because its weights were set by hand; and the sequences that each was made for.

The residual stream is a table of places: which token, which position, then what heads write. Tokens and positions are one-hot codes, so
that a head which asks for a code gets exactly that. The same weights serve two kinds of attention: softmax, and gated linear attention
whose gates forget nothing. Of the linear kinds that one can express all circuits: its features are the codes as they are, so
a score can be taken away (a duplicate head must not see itself), which the positive features of elu + 1 cannot; and its norm
makes a mean of a sum. The others have the same operator with a decay or a correction more.

Shapes: N sequences, T tokens, V tokens of the vocabulary with the pad, D model width, W head width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from picollm.analysis._options import Options
from picollm.analysis._result import Subject
from picollm.core.tokens import open_tokens, write_header, write_split
from picollm.nn.decoder import Config, Model
from picollm.tasks.addition import rows as addition_rows
from picollm.tasks.addition.config import Config as Addition

KINDS = ("softmax", "gated")
V, T, N = 16, 16, 24  # tokens 0..14 and a pad; of most circuits
W = 32  # holds a code of a token and one of a position side by side
GAIN = 20.0  # of queries and keys: a softmax weight next to one, exp(-60) elsewhere
SURE = 4.0  # of the read-out
SMALL = 0.001  # of a number beside the one that stands for its unit: small, so that norms hardly notice it
Head = tuple[int, int]  # layer, head


@dataclass(frozen=True)
class Circuit:
    """What was planted where, and what it does to the sequences."""

    build: Callable[[str], "Hand"]
    data: Callable[[], tuple[np.ndarray, np.ndarray | None]]  # ids, and targets with the pad where there is none; None: the next token
    roles: dict[Head, str]  # all other heads have none
    causal: set[Head]
    choices: dict[Head, int] = field(default_factory=dict)
    kind: str = "recall"  # of task, which says what separators are
    loss: float = 0.05  # nats that it stays below


class Hand:
    """A model of zeros, to be filled by hand."""

    def __init__(self, kind: str, n_layer: int = 1, n_head: int = 4, vocabulary: int = V, length: int = T, d_ff: int = 4) -> None:
        self.V, self.T, self.gated = vocabulary, length, kind == "gated"
        self.token, self.position = slice(0, vocabulary), slice(vocabulary, vocabulary + length)
        start = vocabulary + length
        self.out, self.before = slice(start, start + vocabulary), slice(start + vocabulary, start + 2 * vocabulary)
        self.numbers = start + 2 * vocabulary  # three places for numbers
        D = self.numbers + 3
        self.model = Model(
            Config(
                attention=kind,
                n_layer=n_layer,
                n_head=n_head,
                d_model=D,
                d_ff=d_ff,
                head_width=W,
                positions="learned",
                block_size=length,
                norm="rmsnorm",
                tie_embeddings=False,
            ),
            vocabulary,
        )
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "norm" not in name:
                    parameter.zero_()
                elif ".kernel." not in name:
                    parameter.fill_((2 / D) ** 0.5)  # two ones in D places pass as they are
                if name.endswith("gate_bias"):
                    parameter.fill_(-30.0)
            self.model.embed.weight[:, self.token] = torch.eye(vocabulary)
            self.model.positions.weight[:, self.position] = torch.eye(length)

    def blank(self) -> Tensor:
        """(W, D)"""
        return torch.zeros(W, self.model.config.d_model)

    def code(self, place: slice, at: int = 0, shift: int = 0) -> Tensor:
        """(W, D): the code at `place` becomes that in the channels from `at` on, `shift` lower, at least the first."""
        matrix = self.blank()
        for index in range(place.stop - place.start):
            matrix[at + max(0, index - shift), place.start + index] = 1
        return matrix

    def always(self, channel: int = 0) -> Tensor:
        """(W, D): one in a channel, whatever the token."""
        matrix = self.blank()
        matrix[channel, self.position] = 1
        return matrix

    def only(self, token: int) -> Tensor:
        """(W, D): one in the first channel for one token."""
        matrix = self.blank()
        matrix[0, token] = 1
        return matrix

    def head(self, layer: int, head: int, query: Tensor, key: Tensor, value: Tensor | None = None, out: Tensor | None = None) -> "Hand":
        """Set one head: query, key and value (W, D), out (D, W). Without an out it is a decoy."""
        attention = self.model.blocks[layer].attention
        with torch.no_grad():
            parts = attention.qkv.weight.view(3, -1, W, attention.qkv.in_features)
            parts[0, head], parts[1, head] = GAIN * query, GAIN * key
            if value is not None:
                parts[2, head] = value
            if out is not None:
                size = W**-0.5 if self.gated else 1.0  # what the norm of a head's output leaves is as large as its width
                attention.out.weight[:, head * W : (head + 1) * W] = size * out
        return self

    def copies(self, layer: int, head: int, query: Tensor, key: Tensor, source: slice | None = None, target: slice | None = None) -> "Hand":
        """A head that writes the code at `source` (the token) of where it looks to `target` (the output)."""
        value = self.code(source or self.token)
        return self.head(layer, head, query, key, value, self.code(target or self.out).T)

    def back(self, layer: int, head: int, k: int, target: slice | None = None) -> "Hand":
        return self.copies(layer, head, *self.looking_back(k), target=target)

    def looking_back(self, k: int) -> tuple[Tensor, Tensor]:
        return self.code(self.position, shift=k), self.code(self.position)

    def number(self, layer: int, head: int, query: Tensor, key: Tensor, worth: np.ndarray, place: int) -> "Hand":
        """A head that adds what the tokens it sees are worth (V,), in units of 10 SMALL, to one of the numbers; the mean where it sees several."""
        value = self.blank()
        value[0, self.token], value[1, self.token] = SMALL * torch.from_numpy(worth).float(), 1
        out = self.blank().T
        out[self.numbers + place, 0] = 10
        return self.head(layer, head, query, key, value, out)

    def says(self) -> "Hand":
        """The token written to the output is the prediction."""
        with torch.no_grad():
            self.model.norm.weight.fill_(1.0)
            self.model.head.weight[:, self.out] = SURE * torch.eye(self.V)
        return self

    def reads_number(self, weights: dict[int, float], of_token: float, values: int) -> "Hand":
        """The prediction is the value next to a sum of numbers, by place, and of the token itself: (x - v)^2 without what is the same for all v."""
        v = torch.arange(values).float()
        with torch.no_grad():
            weight = self.model.head.weight
            for place, times in weights.items():
                weight[:values, self.numbers + place] = 10 * v * times / (10 * SMALL)
            weight[:values, :values] += 10 * of_token * torch.outer(v, v)
            weight[:values, self.position] = -5 * (v**2)[:, None]
            weight[values:, self.position] = -1e4
        return self


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([31, seed]))


def random_rows(seed: int = 0, high: int = V - 1) -> np.ndarray:
    return rng(seed).integers(0, high, (N, T))


def back_rows(k: int) -> tuple[np.ndarray, np.ndarray]:
    """The target is the token k back."""
    ids = random_rows(k)
    targets = np.full_like(ids, V - 1)
    targets[:, k:] = ids[:, : T - k]
    return ids, targets


def first_rows() -> tuple[np.ndarray, np.ndarray]:
    ids = random_rows(1)
    return ids, np.repeat(ids[:, :1], T, 1)


def local_rows() -> tuple[np.ndarray, np.ndarray]:
    """The target is any of the last four tokens."""
    ids, back = random_rows(2), rng(3).integers(0, 4, (N, T))
    targets = np.take_along_axis(ids, np.maximum(np.arange(T) - back, 0), 1)
    targets[:, :3] = V - 1
    return ids, targets


def repeated_rows(ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """A start token, then tokens that repeat; the target is what comes `ahead` tokens later in them."""
    random, start = rng(4), V - 2
    ids, targets = np.full((N, T), start), np.full((N, T), V - 1)
    for row, target in zip(ids, targets, strict=True):
        period = random.permutation(start)[: random.integers(5, 8)]
        tokens = np.resize(period, T)
        row[1:], target[1 + len(period) :] = tokens[:-1], tokens[len(period) + ahead :][: T - 1 - len(period)] if ahead else tokens[len(period) : -1]
    return ids, targets


def marked_rows(mark: int) -> tuple[np.ndarray, np.ndarray]:
    """A mark stands once in every sequence; after it the target is the token before it."""
    ids = rng(5).integers(0, V - 3, (N, T))
    at = rng(6).integers(2, T // 2, N)
    targets = np.full_like(ids, V - 1)
    for row, target, place in zip(ids, targets, at, strict=True):
        row[place] = mark
        target[place + 1 :] = row[place - 1]
    return ids, targets


def group_rows() -> tuple[np.ndarray, np.ndarray]:
    """All tokens of a sequence are below 7, or all are from 7 to 13, and so is the target."""
    random = rng(7)
    ids = random.integers(0, 7, (N, T + 1)) + 7 * (np.arange(N) % 2)[:, None]
    return ids[:, :-1], ids[:, 1:]


TERMS, VALUES = 12, 64


def arithmetic_rows() -> tuple[np.ndarray, None]:
    cells = np.array([(start, step) for start in range(12) for step in range(4)])
    return cells[:, :1] + cells[:, 1:] * np.arange(TERMS + 1), None


SUMS = Addition(kind="addition", digits=[2, 2], train=1, validation=1, test=1, long=1)


def sum_rows() -> tuple[np.ndarray, np.ndarray]:
    """+ab+cd+efg+ , units first; half of the problems carry into the tens, some all the way."""
    random = rng(8)
    digits = random.integers(0, 10, (120, 2, 2))
    digits[:30, 1] = 9 - digits[:30, 0]  # every column adds up to nine
    digits[:15, 1, 0] += digits[:15, 0, 0] > 0  # and one more in the units
    return addition_rows.rows(SUMS, digits, np.full((120, 2), 2))


def induction(hand: Hand, head: int = 0) -> Hand:
    """Where the token before was the one that is here now (Olsson et al. 2022)."""
    return hand.copies(1, head, hand.code(hand.token), hand.code(hand.before))


def duplicate_codes(hand: Hand) -> tuple[Tensor, Tensor]:
    """The same token, and not the same position."""
    query = hand.code(hand.token) - hand.code(hand.position, at=hand.V)
    return query, hand.code(hand.token) + hand.code(hand.position, at=hand.V)


def local(kind: str) -> Hand:
    hand = Hand(kind)
    query = sum((hand.code(hand.position, shift=k) for k in range(1, 4)), start=hand.code(hand.position))
    return hand.copies(0, 0, query, hand.code(hand.position)).says()


def marked(mark: int) -> Callable[[str], Hand]:
    def build(kind: str) -> Hand:
        hand = Hand(kind, n_layer=2).back(0, 1, 1)
        hand.copies(0, 1, *hand.looking_back(1), target=hand.before)
        return hand.copies(1, 2, hand.always(), hand.only(mark), source=hand.before).says()

    return build


def inductive(kind: str, decoy: bool = False) -> Hand:
    hand = Hand(kind, n_layer=2)
    induction(hand.copies(0, 0, *hand.looking_back(1), target=hand.before), 3)
    if decoy:
        hand.head(1, 0, hand.code(hand.token), hand.code(hand.before))
    return hand.says()


def extrapolating(kind: str) -> Hand:
    """3 x_t - 2 (x_t + x_(t-1)) / 2: one head looks at both, the residual stream has x_t.

    By itself a difference would lose its size in the norm of a head's output."""
    hand = Hand(kind, vocabulary=VALUES + 1, length=TERMS)
    query = hand.code(hand.position) + hand.code(hand.position, shift=1)
    return hand.number(0, 2, query, hand.code(hand.position), np.arange(VALUES + 1.0), 0).reads_number({0: -2.0}, 3.0, VALUES)


def adding(kind: str) -> Hand:
    """Two heads add the digits of this column, two those of the column before; four neurons say what is carried.

    With A and C these sums, and z whether the digit just written was 0, the column before has carried when 2 C + z >= 19 (it adds up to
    ten, or to nine and shows 0), and this one does when 19 A + 2 C + z >= 190."""
    ids, _ = sum_rows()
    hand = Hand(kind, vocabulary=SUMS.vocab_size, length=ids.shape[1])
    worth = np.array([*range(10), 0.0, 0.0])
    for head, (k, place) in enumerate(((5, 0), (2, 0), (6, 1), (3, 1))):
        hand.number(0, head, *hand.looking_back(k), worth, place)
    unit, steep = 10 * SMALL, 800.0
    mlp, A, C, P = hand.model.blocks[0].mlp, hand.numbers, hand.numbers + 1, hand.numbers + 2
    with torch.no_grad():
        for neuron, (of_a, threshold, gives) in enumerate(((0, 18, 1), (0, 19, -1), (19, 189, -10), (19, 190, 10))):
            mlp.up.weight[neuron, A], mlp.up.weight[neuron, C] = steep * of_a, steep * 2
            mlp.up.weight[neuron, 0], mlp.up.weight[neuron, hand.position] = steep * unit, -steep * unit * threshold
            mlp.down.weight[P, neuron] = gives / steep
    hand.reads_number({0: 1.0, 2: 1.0}, 0.0, 10)
    with torch.no_grad():
        hand.model.head.weight[10, hand.position.stop - 1] = 1e4  # the delimiter ends the answer
    return hand


def twins(kind: str) -> Hand:
    """Two heads do the same, and either is enough to be sure."""
    return Hand(kind, n_head=8).back(0, 2, 2).back(0, 5, 2).says()


def decoys(kind: str) -> Hand:
    """Three heads look where a circuit would and put out nothing; one does all the work."""
    hand = Hand(kind)
    hand.head(0, 0, *hand.looking_back(1)).head(0, 1, hand.always(), hand.code(hand.position)).head(0, 2, *duplicate_codes(hand))
    return hand.back(0, 3, 3).says()


def covert(kind: str) -> Hand:
    """A head without any preference, whose mean over the tokens says which half of the vocabulary the sequence keeps to."""
    hand = Hand(kind)
    value, out = hand.blank(), hand.blank().T
    for half in range(2):
        tokens = range(7 * half, 7 * half + 7)
        value[half, [*tokens]] = 1
        out[[hand.out.start + token for token in tokens], half] = 1
    return hand.head(0, 1, hand.always(), hand.always(), value, out).says()


def back(k: int) -> Callable[[str], Hand]:
    return lambda kind: Hand(kind).back(0, 1, k).says()


def first(kind: str) -> Hand:
    hand = Hand(kind)
    return hand.copies(0, 2, hand.always(), hand.code(slice(hand.V, hand.V + 1))).says()


def duplicate(kind: str) -> Hand:
    hand = Hand(kind)
    return hand.copies(0, 3, *duplicate_codes(hand)).says()


def one(build: Callable[[str], Hand], data: Callable[[], tuple[np.ndarray, np.ndarray | None]], head: Head, role: str, **more: Any) -> Circuit:
    """A circuit of one head."""
    return Circuit(build, data, {head: role}, {head}, **more)


def looked_for(mark: int, role: str, **more: Any) -> Circuit:
    """The token before a mark, by a head that brings each token's neighbour along and one that finds the mark."""
    return Circuit(marked(mark), lambda: marked_rows(mark), {(0, 1): "previous", (1, 2): role}, {(0, 1), (1, 2)}, **more)


CIRCUITS = {
    "self": one(back(0), lambda: back_rows(0), (0, 1), "self"),
    "previous": one(back(1), lambda: back_rows(1), (0, 1), "previous"),
    "two back": one(back(2), lambda: back_rows(2), (0, 1), "copy_back", choices={(0, 1): 2}),
    "three back": one(back(3), lambda: back_rows(3), (0, 1), "copy_back", choices={(0, 1): 3}),
    "local": one(local, local_rows, (0, 0), "local", loss=2.0),  # log 4, and more where one of the four stands twice; log 15 without
    "first": one(first, first_rows, (0, 2), "first"),
    "duplicate": one(duplicate, lambda: repeated_rows(0), (0, 3), "duplicate"),
    "induction": Circuit(inductive, lambda: repeated_rows(1), {(0, 0): "previous", (1, 3): "induction"}, {(0, 0), (1, 3)}),
    "token": looked_for(V - 3, "token_specific", choices={(1, 2): V - 3}),
    "separator": looked_for(V - 2, "separator", kind="addition"),
    "difference": one(extrapolating, arithmetic_rows, (0, 2), "last_difference", kind="numeric", loss=1.5),  # all of it at the first step, unknown to all
    "carry": Circuit(
        adding,
        sum_rows,
        dict.fromkeys([(0, head) for head in range(4)], "copy_back"),
        {(0, head) for head in range(4)},
        {(0, 0): 5, (0, 1): 2, (0, 2): 6, (0, 3): 3},
        kind="addition",
    ),
    "twins": Circuit(twins, lambda: back_rows(2), {(0, 2): "copy_back", (0, 5): "copy_back"}, set()),
    "decoys": Circuit(decoys, lambda: back_rows(3), {(0, 0): "previous", (0, 1): "first", (0, 2): "duplicate", (0, 3): "copy_back"}, {(0, 3)}),
    "inductive decoy": Circuit(
        lambda kind: inductive(kind, decoy=True),
        lambda: repeated_rows(1),
        {(0, 0): "previous", (1, 0): "induction", (1, 3): "induction"},
        {(0, 0), (1, 3)},
    ),
    "covert": Circuit(covert, group_rows, {}, set(), loss=2.0),  # log 7
}


def subject(circuit: Circuit, kind: str, folder: Path, untrained: int = 19) -> Subject:
    """The model, and its sequences as the stored task that it would have been trained on."""
    hand = circuit.build(kind)
    ids, targets = circuit.data()
    arrays = {"": ids} if targets is None else {"": ids, ".targets": targets}
    splits = {
        f"{split}{name}": write_split(folder, f"{split}{name}", [array], hand.V, row_length=array.shape[1])
        for split in ("train", "test")
        for name, array in arrays.items()
    }
    header = {"kind": circuit.kind, "vocab_size": hand.V, "tokenizer": {"kind": "integers", "pad": hand.V - 1}, "splits": splits}
    write_header(folder, **header, targets=targets is not None)
    return Subject(hand.model.eval(), open_tokens(folder), folder, Options(untrained=untrained))
