"""Means and success rates over seeds with the interval that so few of them allow."""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv, stdtrit  # the quantiles alone: scipy.stats takes half a second to import

Summary = dict[str, float]


def summary(values: Sequence[float], level: float = 0.95) -> Summary:
    """{"mean", "n"}, and from two values up "low" and "high", the ends of the t interval at `level`."""
    array = np.asarray(values, np.float64)
    n = len(array)
    result: Summary = {"mean": float(array.mean()), "n": n}
    if n > 1:
        half = float(stdtrit(n - 1, 0.5 + level / 2) * array.std(ddof=1) / np.sqrt(n))
        result |= {"low": result["mean"] - half, "high": result["mean"] + half}
    return result


def proportion(successes: int, n: int, level: float = 0.95) -> Summary:
    """{"successes", "n", "low", "high"}: the interval of Clopper & Pearson (1934), which holds the true rate at least as often as `level` says."""
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return {"successes": successes, "n": n, "low": low, "high": high}
