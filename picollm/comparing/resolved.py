"""params.yaml resolved for its budget, also one of another age, whose sections this code may not know."""

from typing import Any

from picollm.core.config import BUDGETS, at_budget
from picollm.core.errors import UserError, did_you_mean


def resolved(raw: dict[str, Any]) -> dict[str, Any]:
    """Tasks and runs, each entry by itself, as a study has them."""
    budget = raw.get("budget", "study")
    if budget not in BUDGETS:
        raise UserError(f"budget: unknown {budget!r} {did_you_mean(budget, BUDGETS)}")
    entries = {section: raw.get(section) or {} for section in ("tasks", "runs")}
    found = {section: {name: at_budget(block, budget, f"{section}.{name}") for name, block in own.items()} for section, own in entries.items()}
    return {"budget": budget, **found}
