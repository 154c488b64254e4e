"""The sentences that come with the package can be read; a file that is wrong is told so by its place."""

from pathlib import Path

import pytest

from picollm.analysis._sentences import FILE, in_tokens, load
from picollm.tasks.text.fables.grammar import CATEGORIES
from picollm.tokenizers.bytes import Tokenizer as Bytes
from picollm.tokenizers.chars import Tokenizer as Chars


def test_ten_categories_come_with_it() -> None:
    sentences = load()
    assert tuple(sentences) == CATEGORIES
    for own in sentences.values():
        assert len(own) >= 3
        assert all(text == text.strip() for text in own)
    assert "The cat sat on the mat." in sentences["simple"]
    assert len({text for own in sentences.values() for text in own}) == sum(map(len, sentences.values()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no categories; write a category"),
        ("- a\n- b\n", "has no categories; write a category"),
        ("simple:\n", "simple: has no sentences; write each on a line of its own"),
        ("simple: The cat sat.\n", "simple: has no sentences; write each on a line of its own"),
        ("simple:\n  - The cat sat.\n  - 12\n", r"simple: entry 2 is no text \(12\); put it in quotation marks"),
        ("simple:\n  - '  '\n", r"simple: entry 1 is no text \('  '\)"),
        ("simple:\n  - {\n", r"is no YAML \(.*line 3.*\); put a sentence with a colon in quotation marks"),
    ],
)
def test_a_wrong_file_is_told_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sentences.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: {message}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.yaml: cannot be read \(.*No such file"):
        load(tmp_path / "none.yaml")


def test_sentences_become_tokens() -> None:
    tokenizer = Bytes.train([], None)
    found = in_tokens({"simple": ["ab", "c"]}, tokenizer, 2)
    assert found == {"simple": [[97, 98], [99]]}
    with pytest.raises(ValueError, match=f"^{FILE}: simple: 'abc' has 3 tokens, and the model reads 2 at most; shorten it$"):
        in_tokens({"simple": ["abc"]}, tokenizer, 2)
    with pytest.raises(ValueError, match=f"^{FILE}: simple: '' is no token of this run's tokenizer; write another one$"):
        in_tokens({"simple": [""]}, tokenizer, None)
    with pytest.raises(ValueError, match=f"^{FILE}: simple: chars knows only"):
        in_tokens({"simple": ["abc"]}, Chars.train(["ab"], None), None)
