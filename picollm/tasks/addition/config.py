"""The parameters of an addition task: which numbers, how they are written, what is held out, how the answer is proved."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from picollm.core.config import not_negative
from picollm.tasks._config import Sets
from picollm.tasks.addition.bases import check_base, digits_of

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe

MOST_DIGITS = 1000
Order = Literal["reversed", "plain"]
Padding = Literal["none", "longest", "fixed"]


@dataclass(frozen=True, kw_only=True)
class Config(Sets):
    """One entry under `tasks:`. `long_lengths` are digits of both operands, beyond or within those of training.

    Ids: a digit is its own id, then comes the delimiter +, then the pad.
    """

    own_targets: ClassVar[bool] = True

    kind: Literal["addition"]
    base: int = 10
    operands: int = 2
    digits: list[int] = field(default_factory=lambda: [1, 4])  # of an operand, every number of them equally often
    largest: int | None = None  # the most digits are then as many as this number has in the base
    order: Order = "reversed"  # units first, or last
    padding: Padding = "fixed"  # zeros in front: none, up to the longest operand of the problem, or up to the most digits of the task
    tokens_per_pass: int | Literal["all"] = 1  # answer tokens that one pass gives: the targets are so many tokens ahead
    heldout: float = 0.05  # share of the unordered sets of operands that are never trained on; all other sets are made of them
    carry_share: float = 0.3  # of the training problems at step 0 that are made to carry
    carry_steps: int = 1000  # over which that share falls to 0
    carry_missed: float = 0.0  # of those, the share whose chain nothing sets off: the same columns one short of a carry, and none comes
    even_share: float = 0.0  # of the training problems whose columns have any sum as likely; of two operands with fixed padding
    long_lengths: list[int] = field(default_factory=list)
    proof: Literal["none", "strata", "certificate", "exhaustive"] = "strata"
    sequences: int = 0  # lines of a|b|sum in a plain file beside the sets, for tokenizers and tasks of text

    def __post_init__(self) -> None:
        super().__post_init__()
        check_base(self.base)
        if not 2 <= self.operands <= 10:
            raise ValueError(f"operands: {self.operands} numbers; give 2 to 10")
        if self.largest is not None:
            if self.largest < 1:
                raise ValueError(f"largest: {self.largest} is no number to add up to; give at least 1")
            object.__setattr__(self, "digits", [self.digits[0], len(digits_of(self.largest, self.base))])  # the dataclass is frozen from here on
        if len(self.digits) != 2 or not 1 <= self.digits[0] <= self.digits[1] <= MOST_DIGITS:
            raise ValueError(f"digits: {self.digits} is no range; give [fewest, most] with 1 <= fewest <= most <= {MOST_DIGITS}")
        if self.long_lengths and self.long_lengths[-1] > MOST_DIGITS:
            raise ValueError(f"long_lengths: {self.long_lengths[-1]} digits are too many; give at most {MOST_DIGITS}")
        if not 0 < self.heldout < 1:
            raise ValueError(f"heldout: {self.heldout} is no share; give one between 0 and 1, for the test sets are made of it")
        for name in ("carry_share", "carry_missed", "even_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no share; give 0 to 1")
        if self.even_share and (self.operands != 2 or self.padding != "fixed"):
            raise ValueError(f"even_share: {self.even_share} is for two operands with fixed padding; remove it")
        not_negative(self, "carry_steps", "sequences")
        self._check_pass()
        if self.proof in ("certificate", "exhaustive") and (self.padding != "fixed" or self.operands != 2 or self.base ** (2 * self.digits[1]) > 10**9):
            raise ValueError(f"proof: {self.proof} goes through all pairs of two operands with fixed padding, at most 10^9 of them; take strata")

    def _check_pass(self) -> None:
        """An answer token must follow from what a causal model has read `tokens_per_pass` tokens before it."""
        if isinstance(self.tokens_per_pass, str):
            if self.padding == "none" or self.order == "plain":
                raise ValueError("tokens_per_pass: all needs padding and reversed digits, or a digit is asked for before its operands were read")
            if self.answer_width(self.digits[0]) > self.digits[0] + 1:
                raise ValueError(f"tokens_per_pass: all needs an answer of one digit more than its operands; {self.operands} of base {self.base} have more")
        else:
            most = 2 if self.order == "plain" else 1 + (self.digits[1] if self.padding == "fixed" else self.digits[0])
            if not 1 <= self.tokens_per_pass <= most:
                raise ValueError(f"tokens_per_pass: {self.tokens_per_pass} would ask for digits whose operands were not read yet; give 1 to {most}")

    @property
    def shortest(self) -> int:
        return 1

    @property
    def vocab_size(self) -> int:
        return self.base + 2

    @property
    def delimiter(self) -> int:
        return self.base

    def answer_width(self, width: int) -> int:
        """The most digits that a sum of operands of `width` digits has."""
        largest, digits = self.operands * (self.base**width - 1), width
        while self.base**digits <= largest:
            digits += 1
        return digits

    def ahead(self, width: int) -> int:
        """How many tokens ahead of its input a target is."""
        return self.answer_width(width) if isinstance(self.tokens_per_pass, str) else self.tokens_per_pass

    def operand_digits(self, split: str) -> int | None:
        """Of both operands in a set called length30, 30; None where they are mixed."""
        return int(split.removeprefix("length")) if split.startswith("length") else None

    def width(self, split: str) -> int:
        """The digits that operands of a stored set are written with at most: the format is that of training."""
        digits = self.operand_digits(split) or self.digits[1]
        return max(digits, self.digits[1]) if self.padding == "fixed" else digits

    def row_length(self, width: int) -> int:
        """The tokens that a model is given: all but those that are only targets."""
        end = 0 if isinstance(self.tokens_per_pass, str) else 1  # what ends the answer is asked for, unless the answer comes in one pass
        return 1 + self.operands * (width + 1) + self.answer_width(width) + end - self.ahead(width)

    def check_model(self, block: dict[str, Any]) -> None:
        """Raises ValueError for a `model:` block whose positions of numbers are not those of this task's."""
        if block.get("position_ids") == "coupled":
            if block.get("digit_order", "reversed") != self.order:
                raise ValueError(f"digit_order: {block.get('digit_order', 'reversed')}, but the task writes {self.order} digits; set digit_order: {self.order}")
            if self.order == "plain" and self.padding == "none":
                raise ValueError("position_ids: coupled ids of plain order are those of answers with zeros in front; set padding in the task, or take block")
            if block.get("operands", 2) != self.operands:
                raise ValueError(f"operands: {block.get('operands', 2)}, but the task adds {self.operands}; set operands: {self.operands}")
        table = block.get("block_size", 512)
        if block.get("positions") == "learned" and block.get("position_ids", "sequential") != "sequential":
            most = self.answer_width(self.digits[1]) + block.get("position_offset", 0)
            if most >= table:
                raise ValueError(f"block_size: {table} positions do not hold answers of {most} digits, offset included; give at least {most + 1}")

    def trained_length(self, recipe: "Recipe") -> int:
        return self.row_length(self.digits[1])
