"""The results of a git revision, or of an experiment of DVC, which is a commit under refs/exps: read without checking anything out."""

import io
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from picollm.comparing.resolved import resolved
from picollm.core.config import PARAMS, read
from picollm.core.errors import UserError
from picollm.report.collect import Task, collect

READ = (str(PARAMS), "metrics/train", "metrics/evaluate", "metrics/generate", "metrics/tokenize", "plots/train")


def commit(name: str) -> str | None:
    """The hash of a revision or experiment; None where there is no such."""
    if name.startswith("-"):
        return None
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return found or next((hash_ for ref, hash_ in _experiments() if ref.rpartition("/")[2] == name), None)


def names() -> list[str]:
    """Branches, tags and experiments, for a suggestion."""
    refs = _git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").splitlines()
    return [*refs, *(ref.rpartition("/")[2] for ref, _ in _experiments())]


def tasks_at(name: str, hash_: str) -> list[Task]:
    """Its runs by task, with what its stages had left. Raises UserError where it has no metrics."""
    there = _git("ls-tree", "-r", "--name-only", hash_, "--", *READ).splitlines()
    if not any(path.startswith("metrics/train/") for path in there) or str(PARAMS) not in there:
        raise UserError(f"{name}: revision {hash_[:10]} holds no metrics; take one that a study was committed in, or run dvc repro there and commit")
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(_archive(hash_, [path for path in READ if any(file.startswith(path) for file in there)]))) as archive:
            archive.extractall(folder, filter="data")
        return collect(resolved(read(Path(folder) / PARAMS)), Path(folder))[0]


def _archive(hash_: str, paths: list[str]) -> bytes:
    return subprocess.run(["git", "archive", "--format=tar", hash_, "--", *paths], capture_output=True, check=True).stdout


def _experiments() -> list[tuple[str, str]]:
    """(ref, hash) of each; newest first, as a name may have been given again on another baseline."""
    lines = _git("for-each-ref", "--sort=-committerdate", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    return [(ref, hash_) for ref, _, hash_ in (line.partition(" ") for line in lines) if "/celery/" not in ref]


def _git(*arguments: str) -> str:
    """What git says; empty where it says no, or this is no repository."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
