"""All pairs through any decoder, each prefix once: a tree of caches whose leaves are the answers.

Shapes: P first operands of a group, N pairs so far, W digits, A digits of the answer, T tokens of a pass, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from picollm.evaluation._addition.counting import Count, counted, whole_answer
from picollm.models import Model
from picollm.nn.attention import AttentionState
from picollm.nn.decoder import DecodingState
from picollm.nn.decoder import Model as Decoder
from picollm.nn.softmax_attention import KVCache
from picollm.tasks.addition.bases import to_digits
from picollm.tasks.addition.config import Config

GROUP = 16_384  # pairs whose shared prefixes are computed together: enough to hide the cost of calls
LEAVES = 2048  # pairs of a last pass: what they need stays in the processor's cache


def applies(model: Model) -> bool:
    """A decoder all of whose memory is keys and values, which a branch takes along, and whose positions never wait for the end of a number."""
    if not isinstance(model, Decoder) or (model.config.position_ids == "coupled" and model.config.digit_order == "plain"):
        return False
    return all(isinstance(layer, AttentionState) and _plain(layer) for layer in model.empty_state(1, 8).layers)


def _plain(layer: AttentionState) -> bool:
    return isinstance(layer.memory, KVCache) and layer.convolution is None


@dataclass(eq=False)
class Branches:
    """Pairs so far: (N, W) digits of both operands, units first, what was said of the answer (N, A + 1), and the smallest margin (N,)."""

    a: np.ndarray
    b: np.ndarray
    said: np.ndarray
    margin: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Branches":
        return Branches(self.a[rows], self.b[rows], self.said[rows], self.margin[rows])


class Tree:
    def __init__(self, model: Model, config: Config, columns: bool) -> None:
        """`columns`: only pairs whose digits rise within each column, see counting.py."""
        self.model, self.config, self.columns = model, config, columns
        self.W, self.length = config.digits[1], config.row_length(config.digits[1])
        self.start = 2 * self.W + 3  # of the answer

    @property
    def units(self) -> list[np.ndarray]:
        """Arrays of first operands, with about GROUP pairs each."""
        base, W = self.config.base, self.W
        every = np.arange(base**W)
        seconds = (base - to_digits(every, base, W).astype(np.int64)).prod(1) if self.columns else np.full(len(every), base**W)
        return np.split(every, np.flatnonzero(np.diff(seconds.cumsum() // GROUP)) + 1)

    @torch.inference_mode()
    def count(self, firsts: np.ndarray) -> Count:
        """All pairs of each of the operands `firsts` (P,) with every second one."""
        config, W = self.config, self.W
        back = config.order == "reversed"
        a = to_digits(firsts, config.base, W)
        now = Branches(a, np.zeros_like(a), np.full((len(a), config.answer_width(W) + 1), -1, np.int16), np.full(len(a), np.inf, np.float32))
        plus = np.full((len(a), 1), config.delimiter)
        state = self.model.empty_state(len(a), self.length)
        self._read(state, np.concatenate((plus, a if back else a[:, ::-1], plus), 1), now)
        total = Count()
        for place in range(W):
            k = place if back else W - 1 - place  # the column whose digit comes next
            lowest = now.a[:, k].astype(np.int64) if self.columns else np.zeros(len(now.a), np.int64)
            choices = config.base - lowest
            parent = np.repeat(np.arange(len(choices)), choices)  # (N,)
            now = now[parent]
            now.b[:, k] = np.arange(len(parent)) - np.repeat(choices.cumsum() - choices, choices) + lowest[parent]
            if place < W - 1:
                state = _grown(state, parent, self.length)
                self._read(state, now.b[:, k, None], now)
                continue
            for rows in np.split(np.arange(len(parent)), np.arange(LEAVES, len(parent), LEAVES)):
                leaf, branch = _grown(state, parent[rows], self.length), now[rows]
                rest = np.concatenate((branch.b[:, k, None], np.full((len(rows), 1), config.delimiter), whole_answer(config, branch.a, branch.b)), 1)
                self._read(leaf, rest[:, : self.length - leaf.position], branch)
                total += counted(config, branch.a, branch.b, branch.said, branch.margin, self.columns)
        return total

    def _read(self, state: DecodingState, ids: np.ndarray, branches: Branches) -> None:
        """Read `ids` (N, T), and note what the model says of answer tokens."""
        first = state.position + self.config.ahead(self.W) - self.start  # which answer token the first id predicts; below 0 none
        logits = self.model.logits(torch.from_numpy(ids.astype(np.int64)), state)[:, max(0, -first) :]
        if not logits.shape[1]:
            return
        places = slice(max(0, first), max(0, first) + logits.shape[1])
        branches.said[:, places] = logits.argmax(-1).numpy()
        target = torch.from_numpy(whole_answer(self.config, branches.a, branches.b)[:, places].astype(np.int64))[..., None]
        lead = logits.gather(-1, target)[..., 0] - logits.scatter(-1, target, float("-inf")).amax(-1)
        np.minimum(branches.margin, lead.amin(1).numpy(), out=branches.margin)


def _grown(state: DecodingState, parent: np.ndarray, length: int) -> DecodingState:
    """A state for each entry of `parent` (N,), which goes on from that row of `state`."""
    index = torch.from_numpy(parent)
    layers: list[Any] = []
    for layer in state.layers:
        assert isinstance(layer, AttentionState)
        assert isinstance(layer.memory, KVCache)
        old = layer.memory
        memory = KVCache(len(index), old.keys.shape[1], length, old.keys.shape[3], old.keys)
        memory.append(old.keys[index, :, : old.count], old.values[index, :, : old.count])
        layers.append(AttentionState(memory, None))
    grown = DecodingState(layers, length)
    grown.position, grown.ids = state.position, None if state.ids is None else state.ids[index]
    return grown
