"""Position ids of tokens that spell numbers: where a digit stands within its number, not within the sequence.

| position_ids | of +1342+879+2221+ | an id is                                                  | source           |
|--------------|--------------------|-----------------------------------------------------------|------------------|
| sequential   | 0, 1, 2, ...       | the place in the sequence                                 |                  |
| block        | 012340123012340    | the place in the number, from its first digit             | Abacus, arXiv 2405.17399 |
| coupled      | 012340123012340    | the significance: units have 1, whichever order they have | arXiv 2405.20671 |

Delimiters and pads have 0. With digits in reverse the two are the same numbers. In plain order significance counts from a number's
end: that of an operand is known when it has been read whole; an answer, which is still being written, has zeros in front, up to as
many digits as the task's answers have, so that its first digit's significance is known too. So in plain order a prompt is read in one pass.

The last two ids of a vocabulary are the delimiter and the pad, all before them digits.

Shapes: B batch, T time.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

PositionIds = Literal["sequential", "block", "coupled"]
DigitOrder = Literal["reversed", "plain"]


class Places(NamedTuple):
    """Where the tokens of a pass stand, and what they see."""

    ids: Tensor  # (B, T)
    seen: Tensor | None  # (B, 1, T, S) bool, of all tokens so far; None: all


def window(places: Tensor, new: int, width: int) -> Tensor:
    """(B, S) of all tokens so far -> (B, 1, new, S): which of them each of the last `new` sees, those before it within `width` columns of its own.

    What is learned of a column then holds for every column, however many there are: longer numbers are no new situation.
    """
    S = places.shape[1]
    near = (places[:, -new:, None] - places[:, None, :]).abs() <= width
    return (near & torch.ones(new, S, dtype=torch.bool, device=places.device).tril(S - new))[:, None]


def block_ids(ids: Tensor, digits: int) -> Tensor:
    """(B, T) ids, of which those below `digits` are digits -> (B, T): 1, 2, 3, ... within each number, 0 outside."""
    place = torch.arange(ids.shape[1], device=ids.device)
    outside = ids >= digits
    last = torch.where(outside, place, -1).cummax(1).values  # the delimiter before
    return torch.where(outside, 0, place - last)


def coupled_ids(ids: Tensor, digits: int, order: DigitOrder, operands: int) -> Tensor:
    """(B, T) -> (B, T): significance, from 1. In plain order after `operands` numbers comes the answer, one digit longer than the longest of them."""
    blocks = block_ids(ids, digits)
    if order == "reversed":
        return blocks
    outside = ids >= digits
    number = outside.cumsum(1)  # 1 for the first number, whose digits come after the first delimiter
    B = len(ids)
    sizes = torch.zeros(B, ids.shape[1] + 2, dtype=torch.long, device=ids.device).scatter_reduce(1, number, blocks, "amax")  # digits of each number
    answer = sizes[:, 1 : operands + 1].amax(1, keepdim=True) + 1
    size = torch.where(number > operands, answer, sizes.gather(1, number))
    return torch.where(outside, 0, (size + 1 - blocks).clamp_min(1))
