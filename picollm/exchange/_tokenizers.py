"""Tokenizers as a tokenizer.json of the Hugging Face library, and back."""

import json
from typing import Any

from picollm.tokenizers._merges import BytePairs, byte_characters
from picollm.tokenizers._shared import END, from_json


def to_theirs(tokenizer: dict[str, Any]) -> Any | None:
    """A `tokenizers.Tokenizer` that gives the same ids, from what a checkpoint says of its own; None for a kind without counterpart."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    ours = from_json(tokenizer)
    if isinstance(ours, BytePairs):
        pairs = [(left, right) for left, right in (merge.split(" ") for merge in ours.merges)]
        tokens = [*byte_characters(), *(left + right for left, right in pairs)]
        theirs = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.decoder = decoders.ByteLevel()
    elif tokenizer["kind"] == "chars":
        vocabulary = {character: i for i, character in enumerate(tokenizer["characters"])}
        theirs = Tokenizer(models.WordLevel({**vocabulary, END: ours.end}, unk_token=END))
        theirs.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        theirs.decoder = decoders.Fuse()
    else:
        return None
    theirs.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return theirs


def to_ours(text: str, vocab_size: int) -> dict[str, Any] | None:
    """What our checkpoint would say of the tokenizer.json `text`; None unless it is GPT-2's way of byte pairs with the same ids."""
    model = json.loads(text).get("model", {})
    if model.get("type") != "BPE":
        return None
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    tokens = [*byte_characters(), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {token: i for token, i in model["vocab"].items() if token != END}
    if vocabulary != {token: i for i, token in enumerate(tokens)} or vocab_size != len(tokens) + 1:
        return None
    return {"kind": "bpe", "merges": merges}
