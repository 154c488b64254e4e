"""Sentences to look at by category: sentences.yaml beside this file, for users to change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from picollm.core.errors import UserError
from picollm.tokenizers._shared import Base

FILE = Path(__file__).with_name("sentences.yaml")


def load(path: Path = FILE) -> dict[str, list[str]]:
    """{category: sentences}. Raises UserError for a file that is anything else."""
    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); write a category, a colon, and its sentences below") from error
    except YAMLError as error:
        raise UserError(f"{path}: is no YAML ({' '.join(str(error).split())}); put a sentence with a colon in quotation marks") from error
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path}: has no categories; write a category, a colon, and its sentences below")
    return {str(category): _checked(path, category, sentences) for category, sentences in found.items()}


def _checked(path: Path, category: Any, sentences: Any) -> list[str]:
    if not isinstance(sentences, list) or not sentences:
        raise UserError(f"{path}: {category}: has no sentences; write each on a line of its own, after a dash")
    for number, sentence in enumerate(sentences, 1):
        if not isinstance(sentence, str) or not sentence.strip():
            raise UserError(f"{path}: {category}: entry {number} is no text ({sentence!r}); put it in quotation marks, or remove it")
    return sentences


def in_tokens(sentences: Mapping[str, Sequence[str]], tokenizer: Base, longest: int | None, path: Path = FILE) -> dict[str, list[list[int]]]:
    """The ids of every sentence, without end tokens. Raises UserError for one that is no token, more than `longest`, or that the tokenizer cannot spell."""
    return {category: [_ids(path, category, sentence, tokenizer, longest) for sentence in own] for category, own in sentences.items()}


def _ids(path: Path, category: str, sentence: str, tokenizer: Base, longest: int | None) -> list[int]:
    ids = tokenizer.encode(sentence, f"{path}: {category}")
    if not ids:
        raise UserError(f"{path}: {category}: {sentence!r} is no token of this run's tokenizer; write another one")
    if longest is not None and len(ids) > longest:
        raise UserError(f"{path}: {category}: {sentence!r} has {len(ids)} tokens, and the model reads {longest} at most; shorten it")
    return ids
