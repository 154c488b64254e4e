"""Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909, in GPT-2's form), run by tiktoken.

A merge is a line "Ġ t": two tokens whose bytes are written as GPT-2 writes them, each as one visible character.
Ids 0..255 are the single bytes in the order of those characters, then one id per merge, then the end token.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from picollm.core.errors import UserError
from picollm.tokenizers._shared import END, Base


def byte_characters() -> dict[str, int]:
    """{character: the byte it stands for}: printable bytes for themselves, the others from U+0100 on; in the order of ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


class BytePairs(Base):
    def __init__(self, merges: list[str]) -> None:
        import tiktoken
        from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]  # GPT-2's pattern, in a faster form

        self.merges = merges
        byte_of = byte_characters()
        ranks = {bytes([byte]): rank for rank, byte in enumerate(byte_of.values())}
        for merge in merges:
            ranks[bytes(byte_of[character] for character in merge.replace(" ", ""))] = len(ranks)
        assert len(ranks) == 256 + len(merges), "two merges that make the same token"
        self.vocab_size = len(ranks) + 1
        self.encoding = tiktoken.Encoding(self.kind, pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={END: len(ranks)})

    def encode_batch(self, texts: Sequence[str], parameter: str = "tokenizer.kind") -> list[np.ndarray]:
        try:
            return [self.encoding.encode_to_numpy(text, disallowed_special=()) for text in texts]
        except UnicodeEncodeError as error:  # half of a surrogate pair, as a terminal makes of bytes that are not UTF-8
            raise UserError(f"{parameter}: {error.object[error.start]!r} is no character; give the text in UTF-8") from error

    def decode(self, ids: Iterable[int]) -> str:
        return self.encoding.decode([int(i) for i in ids])

    def spelled(self, ids: Iterable[int]) -> list[bytes]:
        return [b"" if i == self.end else self.encoding.decode_single_token_bytes(int(i)) for i in ids]
