"""Labels for probes from the annotations of fables: whether a name has been said before, and whose pronoun comes next.

Shapes: N stories, T tokens, M places.
"""

import json

import numpy as np
import pyarrow.parquet as pq

from picollm.analysis._result import Subject
from picollm.analysis._target import Target
from picollm.tasks.text.spans import in_tokens
from picollm.tokenizers._shared import from_json

CHARACTERS = ("hero", "friend", "pair")  # by number, as annotations have them


def stories(subject: Subject, most: int, length: int) -> tuple[np.ndarray, dict[str, Target]] | None:
    """(N, T) ids of up to `most` stories' beginnings, each after its start token, and their targets; None for a text without annotations.

    known: at the last token of a name, whether the character was mentioned before. gender: at the token before a pronoun, of whom
    it will be; at the pronoun itself the token would say it.
    """
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    length = min(length, subject.model.max_length or length)
    rows: list[list[int]] = []
    found: dict[str, list[tuple[int, int, str]]] = {"known": [], "gender": []}
    for text, annotated in _annotated(subject):
        ids = [tokenizer.end, *tokenizer.encode(text)]
        if len(ids) < length:
            continue
        if len(rows) == most:
            break
        annotations = in_tokens(annotated, text, tokenizer)
        for mention in annotations["mentions"]:
            if mention["form"] == "name" and mention["end"] < length:
                found["known"].append((len(rows), mention["end"], str(mention["antecedent"] is not None)))
            if mention["form"] == "pronoun" and mention["start"] < length:
                found["gender"].append((len(rows), mention["start"], annotations["values"][f"{CHARACTERS[mention['character']]}_gender"]))
        rows.append(ids[:length])
    if not rows:
        return None
    every = np.array(rows, np.int64)
    return every, {name: _target(every, places) for name, places in found.items()}


def _annotated(subject: Subject) -> list[tuple[str, dict[str, object]]]:
    """The test stories of every source that has annotations."""
    result = []
    for path in sorted(subject.raw.rglob("test.parquet")):
        if "annotations" in pq.read_schema(path).names:
            table = pq.read_table(path, columns=["text", "annotations"]).to_pydict()
            result += [(text, json.loads(line)) for text, line in zip(table["text"], table["annotations"], strict=True)]
    return result


def _target(ids: np.ndarray, places: list[tuple[int, int, str]]) -> Target:
    row, place = (np.array([entry[axis] for entry in places], np.int64) for axis in (0, 1))
    _, label = np.unique([entry[2] for entry in places], return_inverse=True)
    return Target(row, place, label, ids[row, place])
