"""Neurons of the MLPs: their activations, how well these tell types apart, and what a model loses without some of them.

Shapes: N sequences, T tokens, K types, F neurons of a layer, L layers.
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from picollm.models import Model

BATCH = 64

Neurons = Iterable[tuple[int, int]]  # (layer, neuron)


def activations(model: Model, ids: np.ndarray) -> np.ndarray:
    """(N, T) -> each neuron's activation after its nonlinearity, averaged over the sequence: (L, N, F)."""
    batches = []

    def tap(site: str, value: Tensor) -> Tensor:
        if site.endswith(".mlp_post"):
            means.append(value.mean(1))
        return value

    with torch.no_grad():
        for start in range(0, len(ids), BATCH):
            means: list[Tensor] = []
            model(torch.from_numpy(ids[start : start + BATCH]).to(model.device), tap=tap)
            batches.append(torch.stack(means))
    return torch.cat(batches, 1).cpu().numpy().astype(np.float64)


def losses(model: Model, ids: np.ndarray, off: Neurons = (), means: np.ndarray | None = None) -> np.ndarray:
    """(N, T) -> (N,): the loss on a sequence's next tokens, in nats, with the neurons in `off` held at `means` (L, F)."""
    held: dict[int, list[int]] = {}
    for layer, neuron in off:
        held.setdefault(layer, []).append(neuron)

    def tap(site: str, value: Tensor) -> Tensor:
        layer, _, name = site.partition(".")
        if name != "mlp_post" or int(layer) not in held or means is None:
            return value
        edited, neurons = value.clone(), held[int(layer)]
        edited[..., neurons] = torch.from_numpy(means[int(layer), neurons]).to(value)
        return edited

    found = []
    with torch.no_grad():
        for start in range(0, len(ids), BATCH):
            part = torch.from_numpy(ids[start : start + BATCH]).to(model.device)
            scores = model(part, tap=tap)[:, :-1].log_softmax(-1)
            found.append(-scores.gather(-1, part[:, 1:, None])[..., 0].mean(1))
    return torch.cat(found).cpu().double().numpy()


def eta_squared(x: np.ndarray, types: np.ndarray) -> np.ndarray:
    """x (N, F), types (..., N) from 0 up -> (..., F) in 0..1; 0 for a neuron that never changes."""
    size = (x**2).sum(0)
    x = x - x.mean(0)
    total = (x**2).sum(0)
    one_hot = np.eye(types.max() + 1)[types]  # (..., N, K)
    sums = np.swapaxes(one_hot, -1, -2) @ x  # (..., K, F)
    between = (sums**2 / np.maximum(one_hot.sum(-2), 1)[..., None]).sum(-2)
    eta2: np.ndarray = between * np.divide(1, total, out=np.zeros_like(total), where=total > 1e-12 * size)  # below, what is left is rounding
    return eta2


def difference(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The interval of mean(a) - mean(b) of independent rows, two or more each, which vary as they like (Welch 1947)."""
    parts = [group.var(ddof=1) / len(group) for group in (a, b)]
    total = sum(parts)
    freedom = total**2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, (a, b), strict=True)) if total else 1.0
    half = float(stdtrit(freedom, 0.975) * np.sqrt(total))
    middle = float(a.mean() - b.mean())
    return {"low": middle - half, "high": middle + half}
