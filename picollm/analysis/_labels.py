"""Which role a head is said to have, and when none: all thresholds, fixed before any trained model was looked at.

A head gets the role of its highest score among those that pass two tests, else it is unlabelled:

1. Family-wise p <= LEVEL over all heads and all roles of the model: in models that learned nothing, at most one in twenty has any label.
2. A score of FLOOR or more: significant is not yet much.

Roles vary by chance to different degrees, and an ALiBi slope alone makes untrained heads local. So before they are compared, each
role's scores are measured from the highest head of untrained models, in units of its spread over these models; a null model is
measured against the others in the same way (Westfall & Young 1993, max T, with the models as its permutations).

Shapes: R roles, L layers, H heads, M null models.
"""

import numpy as np

from picollm.analysis._nulls import family_wise
from picollm.analysis._result import FEWEST_FOR_P

LEVEL = 0.05
FLOOR = 0.3  # of a score: almost a third of what lies between chance and all
LEAST_SPREAD = 0.02  # of a score: where all untrained models are alike, as ALiBi makes them, a smaller unit would be rounding
UNLABELLED = "unlabelled"


def p_values(found: np.ndarray, null: np.ndarray) -> np.ndarray:
    """found (R, L, H), null (M, R, L, H) of chance-corrected scores -> family-wise p (R, L, H); 1 with too few models to tell."""
    if len(null) < FEWEST_FOR_P:
        return np.ones_like(found)
    highest = null.max((2, 3))  # (M, R)
    others = np.stack([_from(highest[m, :, None, None], np.delete(highest, m, 0)).max() for m in range(len(highest))])
    return family_wise(_from(found, highest), others)


def _from(scores: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """scores (R, L, H), highest (M, R) -> how far above the null models' highest heads, in their standard deviations."""
    spread = np.maximum(highest.std(0, ddof=1), LEAST_SPREAD)
    return np.asarray((scores - highest.mean(0)[:, None, None]) / spread[:, None, None])


def labels(found: np.ndarray, p: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """(R, L, H) twice -> (L, H): the number of each head's role, -1 for none."""
    passing = np.where((p <= LEVEL) & (found >= floor), found, -np.inf)
    return np.where(np.isinf(passing.max(0)), -1, passing.argmax(0))
