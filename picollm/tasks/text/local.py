"""Text that lies on this machine: one UTF-8 file, or a folder of them."""

import codecs
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from picollm.errors import UserError
from picollm.tasks.text.config import Config
from picollm.tasks.text.documents import PIECE, Document, drawn, pieces


def located(name: str) -> Path:
    """A relative path starts at the main checkout, also in the temporary ones that DVC computes experiments in."""
    return Path(os.environ.get("DVC_ROOT") or ".", Path(name).expanduser())


def one_file(path: Path, config: Config) -> Iterator[Document]:
    """The file cut in three, in its own order; it is one document, which ends in none of them. Read twice, never held."""
    total = sum(map(len, _decoded(path)))
    shares = {"train": round(1 - config.validation - config.test, 12), "validation": round(1 - config.test, 12), "test": 1.0}
    done = 0
    with open(path, encoding="utf-8", newline="") as file:
        for split in config.splits:
            end = int(total * shares[split])
            blocks = (file.read(min(PIECE, end - at)) for at in range(done, end, PIECE))
            for piece in pieces(blocks):
                yield Document(piece, split, ends=False)
            done = end


def folder(path: Path, config: Config, parameter: str) -> Iterator[Document]:
    """Every *.txt below `path` is a document."""
    files = sorted((file for file in path.rglob("*.txt") if file.is_file()), key=lambda file: file.relative_to(path).parts)
    if not files:
        raise UserError(f"{parameter}: no *.txt below {path}; name a folder that has some, or hub:{path} for parquet or JSON lines")
    shares = {split: getattr(config, split) for split in config.splits[1:]}
    for file in islice(files, config.limit):
        text = "".join(_decoded(file))
        yield Document(text, drawn(text, shares, config.seed))


def _decoded(path: Path) -> Iterator[str]:
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
