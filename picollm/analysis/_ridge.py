"""Ridge regression onto complex targets, each with a penalty of its own, chosen by generalised cross-validation (Golub, Heath & Wahba 1979).

Shapes: N rows to fit on, M rows to judge by, D inputs, K targets, P penalties, G classes.
"""

import numpy as np

PENALTIES = 10.0 ** np.arange(-3, 3)  # times the mean variance of an input
ROUNDING = 1e-9  # a variance below it, times that of the target that varies most, is none


class Ridge:
    """What does not depend on the targets, computed once: x (N + M, D), of which the first N are fitted on."""

    def __init__(self, x: np.ndarray, n: int) -> None:
        x = x - x[:n].mean(0)
        variance, axes = np.linalg.eigh(x[:n].T @ x[:n])
        variance = variance.clip(0)
        self._fitted, self._judged = np.split(x @ axes, [n])
        penalties = PENALTIES[:, None] * (variance.mean() or 1.0)  # of inputs that never change, any will do
        self._shrink = 1 / (variance + penalties)  # (P, D)
        self._explains = (2 - variance * self._shrink) * self._shrink  # (P, D)
        self._free = 1 - (1 + (variance * self._shrink).sum(1)) / n  # (P,): the share of the degrees of freedom that a fit leaves

    def fit(self, codes: np.ndarray, place: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Targets codes (N, K), or codes (G, K)[place (N,)] -> the coefficients (D + 1, K), and the R^2 (K,) that the cross-validation expects on other rows.

        Of classes only the sums over their rows matter, which are few.
        """
        sums, counts = (self._fitted, np.ones(len(codes))) if place is None else self._classes(place)
        codes = codes if place is None else codes[np.unique(place)]
        mean = counts @ codes / counts.sum()
        products = _times(sums.T, codes - mean)  # (D, K)
        total = counts @ _squares(codes - mean)
        left = (total - self._explains @ _squares(products)) / self._free[:, None] ** 2  # (P, K)
        best = self._shrink[left.argmin(0)].T  # (D, K)
        return np.concatenate([best * products, mean[None]]), 1 - _ratio(left.min(0), total)

    def _classes(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) -> of every class that occurs, in ascending order, the sum of its rows (G, D), and how many there are (G,)."""
        order = np.argsort(place, kind="stable")
        first = np.flatnonzero(np.diff(place[order], prepend=-1))
        return np.add.reduceat(self._fitted[order], first), np.diff(first, append=len(place)).astype(np.float64)

    def predict(self, coefficients: np.ndarray) -> np.ndarray:
        """(D + 1, K) -> (M, K), of the rows that were not fitted on."""
        return _times(self._judged, coefficients[:-1]) + coefficients[-1]


def r_squared(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(M, K) twice -> (K,); 0 for a target that never changes."""
    return 1 - _ratio(_squares(predicted - y).sum(0), _squares(y - y.mean(0)).sum(0))


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Real times complex; numpy would make both complex, at twice the cost."""
    return np.ascontiguousarray(a @ np.ascontiguousarray(b).view(np.float64)).view(np.complex128)


def _squares(y: np.ndarray) -> np.ndarray:
    return np.asarray(y.real**2 + y.imag**2)


def _ratio(left: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(left, total, out=np.ones_like(total), where=total > ROUNDING * total.max())
