"""The proof of an adder: all ordered pairs of two operands, or the columns that decide all of them.

`exhaustive` computes every pair. `certificate` computes every multiset of digits in every column: 55^4 = 9,150,625 cases for four
decimal digits. They decide all 10^8 pairs of a model of one layer that cannot tell which operand a digit came from: positions that
are equal in equal columns, zeros in front, and queries on the answer alone, so that swapping two digits of a column swaps two terms
of a sum. In floating point such sums differ in their last digits. So that difference is measured, between all orders of the
columns of the closest and of random pairs, and between this way of computing and a plain pass of the model, and the smallest
margin must be larger than it.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from picollm.core.errors import UserError
from picollm.core.files import read_json, write_json
from picollm.core.parallel import streaming
from picollm.evaluation._addition.counting import Count
from picollm.evaluation._addition.factored import Halves
from picollm.evaluation._addition.factored import applies as factors
from picollm.evaluation._addition.tree import Tree
from picollm.evaluation._addition.tree import applies as has_tree
from picollm.models import Model
from picollm.nn.decoder import Model as Decoder
from picollm.tasks.addition.bases import to_digits
from picollm.tasks.addition.config import Config
from picollm.tasks.addition.rows import rows
from picollm.training.batches import from_rows

Kind = Literal["certificate", "exhaustive"]
SAMPLE = 256  # random pairs whose rounding is measured, beside the closest ones
SAVE_EVERY = 20  # units of work


@dataclass(frozen=True)
class Proof:
    kind: Kind
    count: Count
    rounding: float  # the largest difference of margins seen between orders of the same arithmetic, in logits

    @property
    def holds(self) -> bool:
        """No pair is wrong, and none so close that another order of the sums could make it wrong."""
        return self.count.failures == 0 and self.count.margin > self.rounding

    def figures(self) -> dict[str, Any]:
        c = self.count
        margin = {"margin": c.margin} if c.closest else {}
        known = {"kind": self.kind, "cases": c.cases, "pairs": c.pairs, "failures": c.failures, **margin, "rounding": self.rounding, "holds": float(self.holds)}
        return {**known, "listed": c.listed}


def why_no_certificate(model: Model, config: Config) -> str | None:
    """What keeps columns from deciding all pairs; None where they do."""
    if config.padding != "fixed" or config.operands != 2 or config.tokens_per_pass != 1:
        return "needs two operands with fixed padding, and one answer token a pass"
    if not isinstance(model, Decoder):
        return "is for decoders"
    c = model.config
    if c.depth != 1:
        return f"is for one layer, not {c.depth}: further ones see which operand a digit stands in"
    if c.position_ids == "sequential" and c.positions != "none":
        return f"needs positions that are equal in equal columns, not {c.positions} ones over the sequence; set position_ids: block or coupled"
    if c.position_ids == "sequential":
        return "needs positions: without any, digits of different columns are mixed up"
    if c.attention != "softmax" or c.short_conv or c.sliding_window is not None:
        return "needs softmax attention over all tokens, which does not know their order"
    return None


def prove(model: Model, config: Config, kind: Kind, processes: int = 1, state: Path | None = None, label: str = "proof") -> Proof:
    """`state` is a file that a proof that was stopped goes on from; it belongs to this very model. Raises UserError where there can be no such proof."""
    if kind == "certificate" and (reason := why_no_certificate(model, config)):
        raise UserError(f"proof: a certificate {reason}; take exhaustive or strata")
    if config.padding != "fixed" or config.operands != 2:
        raise UserError("proof: all pairs are those of two operands with fixed padding; take strata")
    mark = _mark(model, config, kind)
    units = _machine(model, config, kind, mark).units
    done, total = _resumed(state, mark)
    with streaming(processes) as each, tqdm(total=len(units), initial=done, desc=label, unit="part", disable=None, mininterval=0.5, leave=False) as bar:
        for part in each(partial(_count, model, config, kind, mark), units[done:]):
            total += part
            done += 1
            bar.update()
            bar.set_postfix_str(f"{total.cases:,} cases, {total.failures} wrong", refresh=False)
            if state and (done % SAVE_EVERY == 0 or done == len(units)):
                write_json(state, {"mark": mark, "done": done, "count": asdict(total)})
    assert total.pairs == config.base ** (2 * config.digits[1]), "the cases do not make up all pairs"
    return Proof(kind, total, rounding(model, config, total))


_machines: dict[str, Halves | Tree] = {}  # the last one, by its mark: a process makes its tables once and not for every unit


def _machine(model: Model, config: Config, kind: Kind, mark: str) -> Halves | Tree:
    if mark not in _machines:
        _machines.clear()
        if not has_tree(model):
            raise UserError(
                "proof: all pairs are computed from shared prefixes, which only a decoder has with softmax attention, without a window, short_conv, "
                "or coupled positions in plain order; take strata"
            )
        _machines[mark] = (Halves if factors(model, config) else Tree)(model, config, kind == "certificate")
    return _machines[mark]


def _count(model: Model, config: Config, kind: Kind, mark: str, unit: np.ndarray) -> Count:
    return _machine(model, config, kind, mark).count(unit)


def _mark(model: Model, config: Config, kind: Kind) -> str:
    """Of what a saved state belongs to."""
    digest = hashlib.sha256(repr((kind, config)).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _resumed(state: Path | None, mark: str) -> tuple[int, Count]:
    if state is None or not state.exists():
        return 0, Count()
    saved = read_json(state)
    if not isinstance(saved, dict) or saved.get("mark") != mark:
        return 0, Count()  # of another model: that one's proof begins anew
    return saved["done"], Count(**saved["count"])


@torch.inference_mode()
def rounding(model: Model, config: Config, count: Count) -> float:
    """The largest difference of a margin between the orders of a pair's columns, and to the margin that the proof found."""
    W, base = config.digits[1], config.base
    rng = np.random.Generator(np.random.PCG64(0))
    found = np.array([margin for margin, _, _ in count.closest])
    some = np.concatenate((np.array([pair[1:] for pair in count.closest], np.int64).reshape(-1, 2), rng.integers(base**W, size=(SAMPLE, 2))))
    digits = np.stack([to_digits(some[:, operand], base, W) for operand in range(2)], 1)  # (N, 2, W)
    swaps = list(product((False, True), repeat=W)) if why_no_certificate(model, config) is None else [(False,) * W]
    margins = np.stack([_margins(model, config, np.where(np.array(swap), digits[:, ::-1], digits)) for swap in swaps])
    spread = float((margins.max(0) - margins.min(0)).max())
    return max(spread, float(np.abs(margins[0, : len(found)] - found).max(initial=0.0)))


def _margins(model: Model, config: Config, digits: np.ndarray) -> np.ndarray:
    """(N, 2, W) pairs, each in one plain pass -> (N,)."""
    ids, targets = rows(config, digits, np.full(digits.shape[:2], digits.shape[2]))
    batch = from_rows(ids, config.pad, targets)
    logits = model.logits(batch.inputs)
    target = batch.targets.clamp_min(0)[..., None]
    lead = logits.gather(-1, target)[..., 0] - logits.scatter(-1, target, float("-inf")).amax(-1)
    result: np.ndarray = lead.masked_fill(batch.targets < 0, float("inf")).amin(1).numpy()
    return result
