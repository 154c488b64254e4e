"""95 % intervals over what was drawn independently: sequences, stories, pairs; not the tokens in them, which resemble each other."""

import numpy as np

from picollm.core import statistics


def of_mean(values: np.ndarray) -> dict[str, float]:
    """(N,) -> the ends of the t interval; empty for one value."""
    summary = statistics.summary([float(value) for value in values])
    return {key: summary[key] for key in ("low", "high") if key in summary}


def of_ratio(top: np.ndarray, bottom: np.ndarray) -> dict[str, float]:
    """sum(top) / sum(bottom), both (N,): the t interval of what each row does to it (the delta method); empty where the bottom is 0."""
    if not bottom.sum():
        return {}
    ratio = top.sum() / bottom.sum()
    return of_mean(ratio + (top - ratio * bottom) / bottom.mean())
