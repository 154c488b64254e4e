"""What the exact predictor is expected to lose and to hit, at each number of steps seen, and what who knows the law does.

Loss: the count of one kind among n steps is beta-binomial(n; alpha, 3 alpha), uniform over compositions when alpha is 1.
Accuracy: the likeliest step is that of the largest count. The four counts are two pairs of two, so that the largest is
below a bound when both pairs' are, which are independent once it is known how the n steps divide between the pairs.

Shapes: n steps seen, k of one kind, K = 4 kinds, m a bound.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammainc, gammaln, psi

from picollm.tasks.urn.config import STEPS

K = len(STEPS)


@dataclass(frozen=True, eq=False)
class Floors:
    """Expected values at each term; NaN at the first, which is not scored."""

    loss: np.ndarray  # (L,) nats
    accuracy: np.ndarray  # (L,)

    def average(self, weights: np.ndarray) -> dict[str, float]:
        """The mean over the terms with these weights (see _rows.term_weights)."""
        scored = slice(1, len(weights))
        return {name: float(x[scored] @ weights[scored] / weights[scored].sum()) for name, x in (("loss", self.loss), ("accuracy", self.accuracy))}


def expected(alpha: float, length: int) -> Floors:
    """The exact floor at each of `length` terms."""
    loss = [_loss(alpha, n) for n in range(length - 1)]
    return Floors(np.array([np.nan, *loss]), np.concatenate([[np.nan], _accuracies(alpha, length - 1)]))


def oracle(alpha: float) -> dict[str, float]:
    """{"loss", "accuracy"} of who knows the law p: its mean entropy, and the mean of its largest probability.

    The second is that of the largest of four gamma variables over the mean of their sum, which their ratio to it does not depend on;
    the mean of the largest is the integral of 1 - F(x)^4, here over log x, where the sum of equally spaced points converges at once.
    """
    x, spacing = np.linspace(-45, 8, 100_001, retstep=True)
    largest = (np.exp(x) * (1 - gammainc(alpha, np.exp(x)) ** K)).sum() * spacing
    return {"loss": float(psi(K * alpha + 1) - psi(alpha + 1)), "accuracy": float(largest / (K * alpha))}


def beta_binomial(n: int, a: float, b: float) -> np.ndarray:
    """(n + 1,): the probability of each count among n."""
    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    p = np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b))
    return p / p.sum()  # of large n the logarithms lose some digits, which all counts share


def _loss(alpha: float, n: int) -> float:
    """After n steps: the next is of each kind alike, and of a kind that came k times with probability p."""
    p = (np.arange(n + 1) + alpha) / (n + K * alpha)
    return float(-K * (beta_binomial(n, alpha, (K - 1) * alpha) * p * np.log(p)).sum())


def _accuracies(alpha: float, count: int) -> np.ndarray:
    """(count,): E[largest count + alpha] / (n + 4 alpha) for n from 0 to count - 1 steps."""
    pair = np.ones((count, count))  # p(both of two counts that add up to n are at most m), (n, m)
    for n in range(count):
        k = np.arange(n + 1)
        pair[n, :n] = np.bincount(np.maximum(k, n - k), beta_binomial(n, alpha, alpha), n + 1).cumsum()[:n]
    accuracy = np.empty(count)
    for n in range(count):
        low = -(-n // K)  # the largest of four counts is no smaller
        within = beta_binomial(n, 2 * alpha, 2 * alpha) @ (pair[: n + 1, low:n] * pair[n::-1, low:n])  # p(all four are at most m), m from low to n - 1
        accuracy[n] = (n - within.sum() + alpha) / (n + K * alpha)  # E[largest] = sum of p(largest > m): `low` of ones, and these
    return accuracy
