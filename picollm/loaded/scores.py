"""What a model holds of a text: the bits of every token, and the floor where the task has one."""

import html
import math
from dataclasses import dataclass

from picollm.loaded.tokens import Token

DARKEST = 8.0  # bits, from which on a token is drawn in the full colour
INK = "217, 95, 2"


@dataclass(frozen=True)
class Score:
    """`bits` and `nats` are sums over the tokens that something stands before; `per_token` is their mean in nats, as losses are everywhere here.

    >>> score = Score((Token(3, "3"), Token(5, "5", probability=0.25), Token(7, "7", probability=0.5)), floor_bits=2.0, size=None)
    >>> score.counted, score.bits, score.excess_bits
    (2, 3.0, 1.0)
    >>> score
    <Score: 2 tokens, 3.00 bits, 1.0397 nats a token, floor 2.00 bits>
    """

    tokens: tuple[Token, ...]
    floor_bits: float | None  # of the exact predictor for all that is counted in `bits`; infinite for what the task never has, None: not known
    size: int | None  # bytes, of a text whose every token is counted

    @property
    def counted(self) -> int:
        return sum(token.probability is not None for token in self.tokens)

    @property
    def bits(self) -> float:
        return math.fsum(token.bits for token in self.tokens if token.bits is not None)

    @property
    def nats(self) -> float:
        return self.bits * math.log(2)

    @property
    def per_token(self) -> float:
        return self.nats / self.counted

    @property
    def bits_per_byte(self) -> float | None:
        return self.bits / self.size if self.size else None

    @property
    def excess_bits(self) -> float | None:
        return None if self.floor_bits is None else self.bits - self.floor_bits

    def __repr__(self) -> str:
        parts = [f"{self.counted} tokens", f"{self.bits:.2f} bits", f"{self.per_token:.4f} nats a token"]
        if self.bits_per_byte is not None:
            parts.append(f"{self.bits_per_byte:.4f} bits a byte")
        if self.floor_bits is not None:
            parts.append("not of this task" if math.isinf(self.floor_bits) else f"floor {self.floor_bits:.2f} bits")
        return f"<Score: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """For notebooks: every token in a colour that deepens with its bits, which the pointer tells."""
        spans = []
        for token in self.tokens:
            bits = token.bits
            told = "" if bits is None else f"{bits:.2f} bits" + ("" if token.floor_bits is None else f", floor {token.floor_bits:.2f}")
            shade = min(1.0, (bits or 0.0) / DARKEST)
            spans.append(f'<span title="{told}" style="background: rgba({INK}, {shade:.2f}); margin-right: 1px">{html.escape(token.text) or "&nbsp;"}</span>')
        return f'<div style="white-space: pre-wrap">{"".join(spans)}</div><div>{html.escape(repr(self)[1:-1])}</div>'
