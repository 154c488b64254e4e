"""Byte-pair encoding learned from the training text: a small vocabulary is most of the speed of a small model.

Learned by the Hugging Face `tokenizers` library, run by tiktoken with the same ids. Both orders of merging agree: the
text of a token is split in one way only before its own merge, so a pair of tokens that spells it is that merge.
"""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from picollm.core.errors import UserError
from picollm.tokenizers._merges import BytePairs


def learn(texts: Iterable[str], vocab_size: int) -> Any:
    """A trained `tokenizers.Tokenizer` with `vocab_size` tokens at the most."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
    return learner


class Tokenizer(BytePairs):
    kind: ClassVar[str] = "bpe"
    smallest: ClassVar[int | None] = 257  # the bytes and the end token

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int | None) -> Self:
        assert vocab_size is not None
        merges = json.loads(learn(texts, vocab_size - 1).to_str())["model"]["merges"]
        tokenizer = cls([" ".join(pair) for pair in merges])
        if tokenizer.vocab_size < vocab_size:
            raise UserError(f"tokenizer.vocab_size: the training text yields {tokenizer.vocab_size} tokens, not {vocab_size}; lower it or use more text")
        return tokenizer

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "merges": self.merges}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["merges"])
