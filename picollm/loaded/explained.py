"""Where every head of a model looks while it reads a text.

Shapes: L layers, H heads, T tokens; a matrix is (T queries, T keys).
"""

import base64
import html
import struct
import zlib
from dataclasses import dataclass

import numpy as np

PLUS, MINUS = np.array([33, 102, 172]), np.array([178, 24, 43])  # what weights of 1 and -1 are drawn in; 0 is white
PICTURE = 96  # pixels, of a head's matrix in a notebook


@dataclass(frozen=True, eq=False)
class Explanation:
    """`attention[layer, head]` is what is applied to the values: of softmax its weights, of a linear kind the implicit ones, which may be negative.

    >>> look = Explanation(("3", "5"), np.array([[[[1.0, 0.0], [0.25, 0.75]]]]))
    >>> look
    <Explanation: attention of 1 layers of 1 heads over 2 tokens>
    >>> look.looks(layer=0, head=0)
    [('5', 0.75), ('3', 0.25)]
    """

    tokens: tuple[str, ...]
    attention: np.ndarray  # (L, H, T, T)

    def looks(self, layer: int, head: int, position: int = -1, most: int = 5) -> list[tuple[str, float]]:
        """The tokens that a head takes most of at a position, with their weights."""
        row = self.attention[layer, head, position]
        return [(self.tokens[place], float(row[place])) for place in np.argsort(-np.abs(row), kind="stable")[:most]]

    def __repr__(self) -> str:
        L, H, T, _ = self.attention.shape
        return f"<Explanation: attention of {L} layers of {H} heads over {T} tokens>"

    def _repr_html_(self) -> str:
        """For notebooks: a picture a head, a row of them a layer; blue weights are positive, red ones negative."""
        rows = []
        for layer, heads in enumerate(self.attention):
            pictures = [
                f'<td><img width="{PICTURE}" height="{PICTURE}" style="image-rendering: pixelated" alt="layer {layer}, head {head}" '
                f'title="layer {layer}, head {head}" src="data:image/png;base64,{base64.b64encode(picture(matrix)).decode()}"></td>'
                for head, matrix in enumerate(heads)
            ]
            rows.append(f"<tr><th>layer {layer}</th>{''.join(pictures)}</tr>")
        return f"<table>{''.join(rows)}</table><div>{html.escape(' '.join(self.tokens))}</div>"


def picture(matrix: np.ndarray) -> bytes:
    """(T, T) weights as a PNG of a pixel each; more than 1 is as dark as 1."""
    size = np.clip(np.abs(matrix), 0, 1)[..., None]
    pixels = np.round(255 - size * (255 - np.where(matrix[..., None] >= 0, PLUS, MINUS))).astype(np.uint8)  # (T, T, 3)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", matrix.shape[1], matrix.shape[0], 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
