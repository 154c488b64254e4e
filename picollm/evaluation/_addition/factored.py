"""All pairs through a model of one layer, whose attention is a sum over tokens that are looked up.

With positions that count within numbers, a token's key and value depend on its digit and its column alone, and a query on
the answer token that asks. So what a query gathers is a sum of table entries, one for each column of the operands and each
answer token so far, over a sum of weights: sum_t exp(q k_t) v_t / sum_t exp(q k_t). The columns are cut into a lower and an
upper half, each half's sums are tabulated, and all pairs of halves are all pairs of operands. What comes after the attention
is computed for every pair and answer token. Nothing is left out: only sums come in another order, and proof.py measures what
that does to the last digits.

Shapes: L lower halves, U upper halves, h columns of a lower one, Q kinds of tokens, J queries of an answer, N pairs at once, H heads,
K head width, E = K + 1 a weighted value and its weight, D model width, V vocabulary.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from picollm.evaluation._addition.counting import Count, counted
from picollm.models import Model
from picollm.nn.decoder import Block
from picollm.nn.decoder import Model as Decoder
from picollm.nn.mlp import GATED
from picollm.nn.softmax_attention import SoftmaxKernel
from picollm.tasks.addition.carries import add
from picollm.tasks.addition.config import Config

AT_ONCE = 2048  # pairs: what they need stays in the processor's cache
UNIT = 20  # upper halves of a unit of work


def applies(model: Model, config: Config) -> bool:
    """One plain layer, digits in reverse, one answer token a pass; for other decoders there is tree.py."""
    if not isinstance(model, Decoder) or config.order != "reversed" or config.tokens_per_pass != 1:
        return False
    c = model.config
    plain = c.attention == "softmax" and c.softmax_scale == "constant" and not c.short_conv and c.sliding_window is None and c.activation not in GATED
    return c.depth == 1 and c.position_ids != "sequential" and c.norm_position == "pre" and plain


class Halves:
    """A model with the sums of its lower halves, ready to go through upper ones. A kind of token is base * column + digit; the delimiter is the last."""

    @torch.inference_mode()
    def __init__(self, model: Model, config: Config, columns: bool) -> None:
        """`columns`: only pairs whose digits rise within each column, see counting.py."""
        assert isinstance(model, Decoder)
        W, self.A = config.digits[1], config.answer_width(config.digits[1])
        self.model, self.config, self.columns, self.h = model, config, columns, (W + 1) // 2
        self.delimiter = config.base * self.A
        self.gathers, sink, self.embedded = _tables(model, config)
        self.low, self.high = _pairs(config.base, self.h, columns), _pairs(config.base, W - self.h, columns)
        answer = add(self.low, config.base, self.h + 1)
        order = np.argsort(answer[:, self.h], kind="stable")  # those that carry come last
        self.low, answer = self.low[order], answer[order]
        self.carrying = int((answer[:, self.h] == 0).sum())
        self.sums = answer[:, : self.h]  # (L, h)
        below = sink + 3 * self.gathers[:, self.delimiter] + self._operands(self.low, 0)  # (L, Q, H, E)
        asks: list[Tensor] = []  # for the queries that the lower half decides: what it gives them, and which they are (L,)
        self.kinds: list[Tensor] = []
        every = torch.arange(len(self.low))
        for j in range(self.h + 1):
            kind = torch.full_like(every, self.delimiter) if j == 0 else self._kind(j - 1, answer[:, j - 1])
            below = below if j == 0 else below + self.gathers[:, kind].transpose(0, 1)
            asks.append(below[every, kind])
            self.kinds.append(kind)
        # Rows last: what a model of a few channels does to thousands of rows is then done to whole rows of memory at a time.
        self.asks = torch.stack(asks).permute(2, 3, 0, 1).float().contiguous()  # (H, E, h + 1, L)
        self.below = below.permute(1, 2, 3, 0).float().contiguous()  # (Q, H, E, L), for the queries that the upper half decides

    @property
    def units(self) -> list[np.ndarray]:
        """Arrays of upper halves, by number."""
        return np.split(np.arange(len(self.high)), np.arange(UNIT, len(self.high), UNIT))

    def _kind(self, column: int, digits: np.ndarray) -> Tensor:
        return torch.from_numpy(self.config.base * column + digits.astype(np.int64))

    def _operands(self, halves: np.ndarray, first: int) -> Tensor:
        """(N, 2, n) digits in the columns from `first` on -> (N, Q, H, E): what all kinds of queries gather from them."""
        N, _, n = halves.shape
        total = torch.zeros(N, *self.gathers[:, 0].shape, dtype=self.gathers.dtype)
        for operand, column in product(range(2), range(n)):
            total += self.gathers[:, self._kind(first + column, halves[:, operand, column])].transpose(0, 1)
        return total

    @torch.inference_mode()
    def count(self, uppers: np.ndarray) -> Count:
        total = Count()
        for upper in uppers:
            above = self._operands(self.high[upper][None], self.h)[0]  # (Q, H, E)
            for carry, rows in ((0, slice(0, self.carrying)), (1, slice(self.carrying, len(self.low)))):
                if rows.start < rows.stop:
                    total += self._with_carry(int(upper), carry, rows, above)
        return total

    def _with_carry(self, upper: int, carry: int, rows: slice, above: Tensor) -> Count:
        """One upper half above the lower halves `rows`, which all carry so much."""
        high, base = self.high[upper], self.config.base
        digits = _raised(high, carry, base)  # of the answer, above the lower half
        chosen = [base * (self.h + place) + int(digit) for place, digit in enumerate(digits)]  # the queries after them
        rest = [(above[kind] + self.gathers[kind, chosen[: place + 1]].sum(0)).float()[..., None] for place, kind in enumerate(chosen)]
        ours = above.float().permute(1, 2, 0).contiguous()  # (H, E, Q)
        total = Count()
        for start in range(rows.start, rows.stop, AT_ONCE):
            some = slice(start, min(start + AT_ONCE, rows.stop))
            n = some.stop - some.start
            kinds = [kind[some] for kind in self.kinds]
            lower = self.asks[..., some] + ours[..., torch.stack(kinds)]  # (H, E, h + 1, N)
            gathered = torch.cat((lower, torch.stack([self.below[kind, ..., some] + part for kind, part in zip(chosen, rest, strict=True)], 2)), 2)
            queries = torch.cat(kinds + [torch.full((n,), kind) for kind in chosen])  # (J N,)
            target = np.concatenate((self.sums[some], np.broadcast_to(digits, (n, len(digits))), np.full((n, 1), self.config.delimiter, np.int8)), 1)
            logits = self._after(gathered.flatten(2), self.embedded[:, queries])  # (V, J N)
            truth = torch.from_numpy(target.T.astype(np.int64)).flatten()[None]
            right = logits.gather(0, truth)[0]
            margin = (right - logits.scatter_(0, truth, float("-inf")).amax(0)).view(-1, n).amin(0).numpy()
            a, b = (np.concatenate((self.low[some, operand], np.broadcast_to(high[operand], (n, len(high[operand])))), 1) for operand in range(2))
            said = target
            if len(wrong := np.flatnonzero(margin <= 0)):
                said = target.copy()
                said[wrong] = logits.scatter_(0, truth, right[None]).view(len(logits), -1, n)[..., wrong].argmax(0).T.numpy()
            total += counted(self.config, a, b, said, margin, self.columns)
        return total

    def _after(self, gathered: Tensor, x: Tensor) -> Tensor:
        """(H, E, R) and the query tokens (D, R) -> logits (V, R): all that follows the attention."""
        block, z = _block(self.model), gathered[:, :-1] / gathered[:, -1:]
        own = _kernel(self.model).norm
        x = x + _mapped(block.attention.out, (z if own is None else own(z.mT).mT).flatten(0, 1))
        x = x + _mapped(block.mlp.down, block.mlp.activated(_mapped(block.mlp.up, _normed(block.norm_mlp, x))))
        return self.model.head.weight @ _normed(self.model.norm, x)


def _mapped(linear: nn.Linear, x: Tensor) -> Tensor:
    """(I, R) -> (O, R)."""
    return linear.weight @ x if linear.bias is None else torch.addmm(linear.bias[:, None], linear.weight, x)


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """(D, R) -> (D, R)."""
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    if isinstance(norm, nn.LayerNorm):
        x = x - x.mean(0)
    x = x * (x.square().mean(0) + float(norm.eps or 0)).rsqrt() * norm.weight[:, None]
    return x if isinstance(norm, nn.RMSNorm) or norm.bias is None else x + norm.bias[:, None]


def _block(model: Decoder) -> Block:
    block = model.blocks[0]
    assert isinstance(block, Block)
    return block


def _kernel(model: Decoder) -> SoftmaxKernel:
    kernel = _block(model).attention.kernel  # type: ignore[union-attr]
    assert isinstance(kernel, SoftmaxKernel)
    return kernel


def _pairs(base: int, n: int, columns: bool) -> np.ndarray:
    """(N, 2, n): the digits of both operands in n columns; with `columns`, those alone where a_k <= b_k."""
    column = [(x, y) for x, y in product(range(base), repeat=2) if x <= y or not columns]
    return np.array(list(product(column, repeat=n)), np.int8).reshape(len(column) ** n, n, 2).swapaxes(1, 2)


def _raised(high: np.ndarray, carry: int, base: int) -> np.ndarray:
    """(2, n) digits, and a carry from below -> (n + 1,) digits of their sum."""
    below = np.array([[carry], [base - 1 if carry else 0]], np.int8)  # a column whose sum is `carry` times the base, or the base and more
    return add(np.concatenate((below, high), 1)[None], base, high.shape[1] + 2)[0, 1:]


def _tables(model: Decoder, config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """What a query of each kind gathers from each kind of token (Q, Q, H, E) in float64 and from the sinks (Q, H, E), and the embeddings (D, Q)."""
    W, A, base = config.digits[1], config.answer_width(config.digits[1]), config.base
    ids = torch.full((base, 2 * W + A + 4), config.delimiter)
    for start, width in ((1, W), (W + 2, W), (2 * W + 3, A)):
        ids[:, start : start + width] = torch.arange(base)[:, None]  # row d: only digits d
    sites: dict[str, Tensor] = {}

    def tap(site: str, value: Tensor) -> Tensor:
        sites[site] = value
        return value

    model(ids, tap=tap)
    answer = slice(2 * W + 3, 2 * W + 3 + A)

    def kinds(values: Tensor) -> Tensor:
        """(base, T, ...) -> (Q, ...): of the answer's columns, which the operands' equal; and of the delimiter."""
        for start in (1, W + 2):
            torch.testing.assert_close(values[:, start : start + W], values[:, answer][:, :W], msg="operands and answer have places of their own")
        return torch.cat((values[:, answer].transpose(0, 1).flatten(0, 1), values[:1, answer.stop]))

    of_heads = _kernel(model)._of_heads
    q, k, v = (kinds(sites[f"0.{name}"].transpose(1, 2)).double() for name in "qkv")  # (Q, H or G, K)
    k, v = (of_heads(x[None].transpose(1, 2))[0].transpose(0, 1) for x in (k, v))
    scores = torch.einsum("qhk,mhk->qmh", q, k) * q.shape[-1] ** -0.5
    if (width := model.config.column_window) is not None:
        places = kinds(model.position_ids(ids))  # (Q,)
        scores = scores.masked_fill(((places[:, None] - places).abs() > width)[..., None], float("-inf"))
    most = scores.amax(1)  # (Q, H), of any kind: no weight overflows
    sinks = _kernel(model).sinks
    if sinks is not None:
        most = torch.maximum(most, sinks.double())
    weights = (scores - most[:, None]).exp()[..., None]
    sink = torch.zeros_like(weights[:, 0]) if sinks is None else (sinks - most).exp()[..., None]
    return torch.cat((weights * v, weights), -1), torch.nn.functional.pad(sink, (v.shape[-1], 0)), kinds(sites["embed"]).T.contiguous()
