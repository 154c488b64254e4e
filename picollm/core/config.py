"""params.yaml to frozen dataclasses: read the way DVC reads it, resolved for one budget, checked to the last key.

Any value may be written once, or per budget: `steps: 500` or `steps: {smoke: 20, study: 500, full: 2000, paper: 2000}`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from picollm.core.errors import UserError, did_you_mean

T = TypeVar("T")
BUDGETS = ("smoke", "study", "full", "paper")
PARAMS = Path("params.yaml")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # how pydantic calls a key that no field has
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)  # every configuration class sets it as __pydantic_config__


def read(path: Path = PARAMS) -> dict[str, Any]:
    """The whole file as plain dictionaries. DVC reads it as YAML 1.2 (`1e-3` is a number, `no` a word), so do we."""
    try:
        value = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the folder that holds params.yaml") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from error
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UserError(f"{path}: is not YAML: {place}{problem}; mend it there (UTF-8, indented with spaces)") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no parameters; write blocks such as tasks: and runs:")
    return value


def at_budget(value: Any, budget: str, path: str) -> Any:
    """`value` with every {smoke: ..., study: ..., ...} in it replaced by its entry for `budget`."""
    if isinstance(value, dict):
        if value and set(value) <= set(BUDGETS):
            if budget not in value:
                raise UserError(f"{path}: has no value for budget '{budget}'; add one beside {', '.join(value)}")
            return at_budget(value[budget], budget, path)
        return {key: at_budget(entry, budget, f"{path}.{key}") for key, entry in value.items()}
    return [at_budget(entry, budget, path) for entry in value] if isinstance(value, list) else value


def parse(cls: type[T], value: Any, path: str) -> T:
    """`value` as an instance of the dataclass `cls`; the first mistake is a UserError that starts with its dotted path."""
    try:
        # Strict through JSON: "4" is no number and 4.5 no count, yet dictionaries may become dataclasses.
        found: T = _adapter(cast(Any, cls)).validate_json(json.dumps(value), strict=True)
        return found
    except ValidationError as error:
        first = min(error.errors(), key=lambda mistake: mistake["type"] not in UNKNOWN)  # a misspelt name also leaves its own missing
        where = ".".join([path, *(str(part) for part in first["loc"])])
        if first["type"] in UNKNOWN:
            known = _keys(cls, first["loc"][:-1])
            raise UserError(f"{where}: unknown parameter {did_you_mean(first['loc'][-1], known)}") from error
        if first["type"] == "value_error":  # raised by a __post_init__, which names the field itself
            raise UserError(f"{where}.{first['ctx']['error']}") from error
        if first["type"] in ("missing", "missing_argument"):
            raise UserError(f"{where}: is missing; add it to {PARAMS}") from error
        raise UserError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, not {json.dumps(first['input'])}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    """Of a dataclass. Made once: a study has a thousand blocks of a dozen classes."""
    return TypeAdapter(cls)


def require(config: Any, names: Iterable[str], holds: Callable[[Any], bool], what: str) -> None:
    """For a __post_init__: raises ValueError for the first of the fields `names` that is given and for which `holds` does not."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not holds(value):
            raise ValueError(f"{name}: must {what}, not {value}")


def at_least_one(config: Any, *names: str) -> None:
    require(config, names, lambda value: value >= 1, "be at least 1")


def above_zero(config: Any, *names: str) -> None:
    require(config, names, lambda value: value > 0, "be above 0")


def not_negative(config: Any, *names: str) -> None:
    require(config, names, lambda value: value >= 0, "not be negative")


def share_below_one(config: Any, *names: str) -> None:
    require(config, names, lambda value: 0 <= value < 1, "be in [0, 1)")


def _keys(cls: type, loc: tuple[int | str, ...]) -> list[str]:
    """The field names of the dataclass at `loc` inside `cls`, for a suggestion."""
    inner: Any = cls
    for part in loc:
        # Below a dictionary or a list stand its values, whose type is the last one named.
        inner = {field.name: field.type for field in fields(inner)}.get(str(part)) if is_dataclass(inner) else (get_args(inner) or (None,))[-1]
        if isinstance(inner, UnionType):  # a block that may be left out
            inner = get_args(inner)[0]
    return [field.name for field in fields(inner)] if is_dataclass(inner) else []
