"""One thing that should be readable, where, and what a probe could learn by heart there.

Shapes: M places.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Target:
    row: np.ndarray  # (M,) the sequence, ascending
    place: np.ndarray  # (M,) the token where it is read
    label: np.ndarray  # (M,) whole numbers
    token: np.ndarray  # (M,) the type of what stands there, whole numbers

    def control(self, draw: int) -> np.ndarray:
        """(M,): labels of a control task, one for every type, as frequent as the real ones (Hewitt & Liang 2019)."""
        _, token = np.unique(self.token, return_inverse=True)
        rng = np.random.Generator(np.random.PCG64([SEED, draw, len(token)]))
        return np.asarray(rng.choice(self.label, size=token.max() + 1)[token])


SEED = 8
