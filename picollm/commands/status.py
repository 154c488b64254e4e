"""`status`: what of the study is up to date, and what the rest will cost."""

import json
from collections.abc import Iterable, Mapping

from picollm.commands._durations import durations
from picollm.commands._freshness import MEANING, State, states
from picollm.commands._graph import Stage, stages
from picollm.commands._options import AsJson
from picollm.core.config import read

WIDTH = 80
NAMES = 23  # columns for the name of a task, run or sweep


def status(as_json: AsJson = False) -> None:
    """What is fresh, stale, running or was never run, how long it took last time, and what a rebuild will cost.

    Example: python -m picollm status
    """
    params = read()
    every = stages(params)
    found, seconds = states(every, params), durations()
    print(json.dumps(_data(found, seconds), indent=2, sort_keys=True) if as_json else "\n".join(_lines(every, found, seconds)))


def _data(found: Mapping[str, State], seconds: Mapping[str, float]) -> dict[str, object]:
    costs = {kind: [seconds.get(name) for name in chosen] for kind, chosen in _due(found).items()}
    return {
        "stages": {name: {"state": state, "seconds": seconds.get(name)} for name, state in found.items()},
        "rebuild": {kind: {"seconds": sum(filter(None, each)), "stages": len(each), "untimed": each.count(None)} for kind, each in costs.items()},
    }


def _due(found: Mapping[str, State]) -> dict[str, list[str]]:
    """The stages that will run, and those that will if something comes out differently."""
    certain = [name for name, state in found.items() if state not in ("fresh", "behind", "running")]
    return {"certain": certain, "possible": [name for name, state in found.items() if state == "behind"]}


def _lines(every: Mapping[str, Stage], found: Mapping[str, State], seconds: Mapping[str, float]) -> Iterable[str]:
    for section in dict.fromkeys(stage.section for stage in every.values()):
        own = [stage for stage in every.values() if stage.section == section]
        if not section:
            continue
        kinds = list(dict.fromkeys(stage.kind for stage in own))
        width = (WIDTH - NAMES) // max(3, len(kinds))
        yield f"{section:<{NAMES}}" + "".join(f"{kind:<{width}}" for kind in kinds).rstrip()
        for key in dict.fromkeys(stage.key for stage in own):
            cells = (_cell(f"{kind}@{key}", found, seconds) for kind in kinds)
            yield f"{_short(key):<{NAMES}}" + "".join(f"{cell:<{width}}" for cell in cells).rstrip()
        yield ""
    yield "  ".join(f"{stage.name} {_cell(stage.name, found, seconds)}" for stage in every.values() if not stage.section)
    yield ""
    counts = {state: sum(one == state for one in found.values()) for state in MEANING}
    yield from (f"{count:>4} {state:<8}{MEANING[state]}" for state, count in counts.items() if count)
    yield ""
    yield _cost(found, seconds)


def _cell(name: str, found: Mapping[str, State], seconds: Mapping[str, float]) -> str:
    return f"{found[name]} {spoken(seconds[name])}" if name in seconds else found[name]


def _short(key: str) -> str:
    return key if len(key) < NAMES else f"{key[: NAMES - 2]}…"


def _cost(found: Mapping[str, State], seconds: Mapping[str, float]) -> str:
    due = _due(found)
    if not any(due.values()):
        return "nothing to rebuild" + (" but what is running" if "running" in found.values() else "")
    certain, possible = (sum(seconds.get(name, 0) for name in chosen) for chosen in due.values())
    untimed = sum(name not in seconds for chosen in due.values() for name in chosen)
    parts = [f"a rebuild takes about {spoken(certain)}", f"up to {spoken(certain + possible)} with what follows" if possible else ""]
    parts.append(f"and {untimed} stage{'' if untimed == 1 else 's'} without a time" if untimed else "")
    return f"{', '.join(filter(None, parts))}: python -m picollm study"


def spoken(seconds: float) -> str:
    """What a person reads at a glance, in at most 7 characters."""
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
