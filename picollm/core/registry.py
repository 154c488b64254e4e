"""Names in params.yaml to modules: an entry is a file, and the file's name is the entry's name.

A list of imports in a package's `__init__` would be a dependency of every stage, so that one more model would
retrain all others. Here a stage imports only the entries its run names.
"""

import importlib
import pkgutil
from types import ModuleType

from picollm.core.errors import UserError, did_you_mean


def names(package: str) -> list[str]:
    """The entries of a package, e.g. names("models") -> ["kgram", "lstm", "transformer"]."""
    folder = importlib.import_module(f"picollm.{package}").__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder) if not module.name.startswith("_"))


def load(package: str, name: object, parameter: str) -> ModuleType:
    """The module of an entry. `parameter` is the dotted path that named it, for the message of a misspelt one."""
    known = names(package)
    if name not in known:
        raise UserError(f"{parameter}: unknown {name!r} {did_you_mean(name, known)}")
    return importlib.import_module(f"picollm.{package}.{name}")
