"""Writing files so that a crash or a full disk never leaves half a file under a good name."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from picollm.core.errors import UserError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name, on failure it vanishes and `path` keeps what it had."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # without it a crash right after the rename can leave an empty file
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error}); free some space or mend the permissions, then run again") from error
    finally:
        with suppress(OSError):  # not there, or its folder is not: the error above is the one to tell
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and no NaN: the same value gives the same bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """One line a row; what a row has beyond `columns` is left out, what it lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it (dvc repro)") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not JSON ({error}); remove it and run the stage that makes it again") from error


def write_record(path: Path, value: dict[str, Any]) -> None:
    """All that a stage measured, as a list of one entry, which DVC passes over: else every number of every stage is a column of `dvc exp show`."""
    write_json(path, [value])


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote; empty where nothing was. A file of before, without the list, is read alike."""
    found: Any = read_json(path) if path.exists() else {}
    record = found[0] if isinstance(found, list) and len(found) == 1 else found
    if not isinstance(record, dict):
        raise UserError(f"{path}: is no record of a stage; remove it and run the stage that makes it again")
    return record


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
