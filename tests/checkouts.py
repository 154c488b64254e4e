"""A folder with the project in it, committed to a git of its own, with nothing of this machine's state; and how to run commands there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]


class Checkout(SimpleNamespace):
    path: Path
    environment: dict[str, str]

    def start(self, *command: str, **options) -> subprocess.Popen:
        return subprocess.Popen(command, cwd=self.path, env=self.environment, **options)

    def run(self, *command: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Through a file, not a pipe: queue workers would keep a pipe open."""
        log = self.path / ".last.log"
        with open(log, "w") as out:
            code = subprocess.run(command, cwd=self.path, env=self.environment, stdout=out, stderr=subprocess.STDOUT, timeout=timeout, check=False).returncode
        output = log.read_text()
        assert code == 0 or not check, f"{' '.join(command)} ended with {code}:\n{output[-4000:]}"
        return subprocess.CompletedProcess(command, code, output, "")

    def stages(self, output: str) -> set[str]:
        """The stages that DVC says it runs."""
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}

    def copy(self, path: Path) -> "Checkout":
        shutil.copytree(self.path, path, symlinks=True)
        return Checkout(path=path, environment=self.environment)


def lay_out(path: Path, takes: Callable[[str], bool], change: Callable[[Path], None]) -> Checkout:
    """The project's files that `takes` says so of, by their names, and a commit of them after a `change`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(takes, filter(None, listed.split("\0"))):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    change(path)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "PYTEST_", "MALLOC_"))}
    binaries = str(Path(sys.executable).parent)
    quiet = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_CONFIG_GLOBAL": os.devnull}
    author = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    checkout = Checkout(path=path, environment={**ours, **quiet, **author, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"})
    checkout.run("git", "init", "-q")
    (path / ".git/info/exclude").write_text(".last.log\n")
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-q", "-m", "a small study")
    return checkout
