"""Evaluations, one a kind of task; and how they say what they could not measure."""

from typing import Any


def skipped(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    """{what was left out: why}, wherever a result holds {"skipped": reason}."""
    if not isinstance(value, dict):
        return {}
    if "skipped" in value:
        return {" ".join(path): str(value["skipped"])}
    return {what: why for key, entry in value.items() for what, why in skipped(entry, (*path, key)).items()}
