"""Text that lies on this machine: one UTF-8 file, or a folder of them; in whole files, or every line a document."""

import codecs
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from picollm.core.errors import UserError
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import PIECE, Document, pieces


def located(name: str) -> Path:
    """A relative path starts at the main checkout, also in the temporary ones that DVC computes experiments in."""
    return Path(os.environ.get("DVC_ROOT") or ".", Path(name).expanduser())


def one_file(path: Path, config: Config) -> Iterator[Document]:
    """The file cut in three, in its own order; it is one document, which ends in none of them. Read twice, never held."""
    total = sum(map(len, decoded(path)))
    shares = {"train": round(1 - config.validation - config.test, 12), "validation": round(1 - config.test, 12), "test": 1.0}
    done = 0
    with open(path, encoding="utf-8", newline="") as file:
        for split in config.splits:
            end = int(total * shares[split])
            blocks = (file.read(min(PIECE, end - at)) for at in range(done, end, PIECE))
            for piece in pieces(blocks):
                yield Document(piece, split, ends=False)
            done = end


def texts_below(path: Path, parameter: str) -> list[Path]:
    """Every *.txt in a folder and those inside of it, in an order that no file system changes."""
    files = sorted((file for file in path.rglob("*.txt") if file.is_file()), key=lambda file: file.relative_to(path).parts)
    if not files:
        raise UserError(f"{parameter}: no *.txt below {path}; name a folder that has some, or hub:{path} for parquet or JSON lines")
    return files


def whole(files: Iterable[Path]) -> Iterator[str]:
    return ("".join(decoded(file)) for file in files)


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    """The lines of a text that hold something, without their ends."""
    rest = ""
    for block in blocks:
        *lines, rest = (rest + block).split("\n")
        yield from (line.rstrip() for line in lines if line.strip())
    if rest.strip():
        yield rest.rstrip()


def decoded(path: Path) -> Iterator[str]:
    """The text of a file in blocks. Raises UserError with the offset of the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of the first byte that is not decoded yet
    try:
        with open(path, "rb") as file:
            while True:
                block = file.read(PIECE)
                pending = len(decoder.getstate()[0])
                yield decoder.decode(block, final=not block)
                offset += pending + len(block) - len(decoder.getstate()[0])
                if not block:
                    return
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 at byte {offset + error.start}; convert it (iconv -t UTF-8), or leave it out") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions, or name another source") from error
