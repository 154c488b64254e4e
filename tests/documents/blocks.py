"""What a document holds: links, commands, and blocks, which are commands to type, files to write, or something to look at."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = [ROOT / "docs/tutorial.md", ROOT / "docs/teaching.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]

FENCED = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)")
PROGRAMS = ("make", "dvc", "python", "pip", "mlflow", "source", "git")
HEREDOC = re.compile(r"^(.*?) *<<'(\w+)'\n(.*?)^\2$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    file: str  # that the reader writes or adds to; "" for what is typed or looked at
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in FENCED.findall(text)]


def prose(text: str) -> str:
    return FENCED.sub("", text)


def links(text: str) -> list[str]:
    """Their targets, without those inside of the document."""
    return LINK.findall(prose(text))


def commands(text: str) -> Iterator[str]:
    """Every line of a bash block, and every code span in the prose that begins with a program and has arguments."""
    for block in blocks(text):
        if block.language == "bash":
            for line in HEREDOC.sub(r"\1", block.text).replace("\\\n", " ").splitlines():
                yield from map(shlex.join, split(line))
    for span in SPAN.findall(prose(text)):
        words = span.split()
        if words[0] in PROGRAMS and len(words) > 1:
            yield from map(shlex.join, split(" ".join(words)))


def split(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, each as its words, without what it sets for a command alone: `NAME=value`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "&&"]:
        if word not in ("&&", "||", "|", ";"):
            words += [] if not words and re.fullmatch(r"[A-Z_]+=.*", word) else [word]
        elif words:
            yield words
            words = []


def programs(text: str) -> Iterator[str]:
    """Python to be run: that of blocks without a file, and of bash blocks."""
    for block in blocks(text):
        if block.language == "python" and not block.file:
            yield block.text
        if block.language == "bash":
            yield from (code for _, _, code in HEREDOC.findall(block.text))
