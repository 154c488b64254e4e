"""The residual stream of a model at chosen places.

Shapes: N sequences, T tokens, M places, D model width.
"""

import numpy as np
import torch

from picollm.models import Model
from picollm.nn.taps import Recorder

BATCH = 250


def residual_sites(model: Model, *names: str) -> list[str]:
    """The embedding, then `names` (such as "resid_post") of every block."""
    return ["embed", *(f"{layer}.{name}" for layer in range(model.config.depth) for name in names)]


def states(model: Model, ids: np.ndarray, row: np.ndarray, place: np.ndarray, sites: list[str]) -> dict[str, np.ndarray]:
    """{site: (M, D)}, in double precision: of ids (N, T) the tokens `place` (M,) of the sequences `row` (M,), which ascend.

    Of a batch no more is read than up to its last place: models are causal.
    """
    values: dict[str, list[np.ndarray]] = {site: [] for site in sites}
    with torch.no_grad():
        for start in range(0, len(ids), BATCH):
            recorder = Recorder(sites)
            inside = (row >= start) & (row < start + BATCH)
            if not inside.any():
                continue
            model(torch.from_numpy(ids[start : start + BATCH, : place[inside].max() + 1]).to(model.device), tap=recorder)
            for site in sites:
                values[site].append(recorder[site].cpu().numpy()[row[inside] - start, place[inside]])
    return {site: np.concatenate(parts).astype(np.float64) for site, parts in values.items()}
