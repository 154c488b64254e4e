"""Rotary positions as a config.json of transformers describes them, in its present form and in older ones."""

from typing import Any

from picollm.nn.decoder import Config


def describe(config: Config) -> dict[str, Any]:
    if config.yarn_factor == 1:
        return {"rope_type": "default", "rope_theta": config.rope_theta}
    yarn = {"factor": config.yarn_factor, "original_max_position_embeddings": config.yarn_length, "beta_fast": 32.0, "beta_slow": 1.0}
    return {"rope_type": "yarn", "rope_theta": config.rope_theta, "truncate": False, **yarn}


def read(theirs: dict[str, Any], theta: float = 10_000.0, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Our parameters; `theta` and `default` are the architecture's own. Raises ValueError for a kind that we do not have."""
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or default or {}
    ours: dict[str, Any] = {"rope_theta": rope.get("rope_theta", theirs.get("rope_theta", theta))}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("partial_rotary_factor", theirs.get("rotary_pct", 1.0)) != 1:
        raise ValueError("rotary positions on a part of the channels")
    if kind == "default":
        return ours
    plain = rope.get("beta_fast", 32) == 32 and rope.get("beta_slow", 1) == 1 and not rope.get("truncate", True)
    plain = plain and not {"attention_factor", "mscale", "mscale_all_dim"} & {key for key, value in rope.items() if value is not None}
    if kind != "yarn" or not plain:
        raise ValueError(f"rotary positions of the kind {kind}{' with options of its own' if kind == 'yarn' else ''}")
    return {**ours, "yarn_factor": rope["factor"], "yarn_length": rope["original_max_position_embeddings"]}
