"""What one sequence does inside a model: every head's weights, how much each value can add, and what every layer would say if it were the last.

Shapes: T tokens, L layers, H heads, G key-value heads, K value width, D model width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from picollm.analysis._result import Subject
from picollm.models import Model
from picollm.nn.attention import Attention
from picollm.nn.decoder import Config
from picollm.nn.linear_variants import VARIANTS
from picollm.nn.taps import ATTENDING, Recorder


@dataclass(frozen=True, eq=False)
class Inside:
    """None is what the model does not have."""

    weights: np.ndarray | None = None  # (L, H, T, T): exactly what was applied to the values, signed where the kind is
    sizes: np.ndarray | None = None  # (L, H, T): the length of each value as it is added to the residual
    layers: np.ndarray | None = None  # (L + 1, T, V): the next token's probabilities, read off after the embedding and after every layer


def look(subject: Subject, ids: np.ndarray) -> Inside:
    """One pass over ids (T,). A model without taps shows nothing."""
    if subject.without_taps:
        return Inside()
    model: Any = subject.model
    depth = range(model.config.depth)
    sites = ["0.resid_pre", *(f"{layer}.resid_post" for layer in depth)]
    recorder = Recorder([*sites, *(f"{layer}.{name}" for layer in depth for name in ATTENDING)])
    with torch.no_grad():
        model(torch.from_numpy(ids)[None].to(model.device), tap=recorder)
        layers = torch.stack([model.head(model.norm(recorder[site][0])).softmax(-1) for site in sites])
        if subject.without_weights:
            return Inside(layers=layers.cpu().numpy())
        weights = torch.stack([model.attention_weights(recorder, layer)[0] for layer in depth])
        sizes = torch.stack([_sizes(model.attentions[layer % model.config.n_layer], recorder[f"{layer}.v"][0]) for layer in depth])
    return Inside(weights.cpu().numpy(), sizes.cpu().numpy(), layers.cpu().numpy())


def next_token(model: Model, ids: np.ndarray) -> np.ndarray:
    """(V,) probabilities after ids (T,), of any model."""
    with torch.no_grad():
        logits = model.logits(torch.from_numpy(ids)[None].to(model.device))
    return np.asarray(logits[0, -1].softmax(-1).cpu())


def operator(config: Config) -> str:
    """What the weights of this kind of attention are, in a sentence."""
    if config.attention == "softmax":
        return "Softmax attention: a row of weights sums to 1" + (", less what the head's sink takes and adds nothing for." if config.sinks else ".")
    kind, variant = config.attention.replace("_", " "), VARIANTS[config.attention]
    if variant.normalised:
        return f"Implicit weights of {kind} attention, which it applies without ever building them: never negative, a row sums to 1."
    return f"Operator of {kind} attention, applied without ever being built: its rows sum to nothing in particular, and a norm follows."


def _sizes(attention: Attention, v: Tensor) -> Tensor:
    """(G, T, K) values -> (H, T): their lengths behind the head's own part of the output matrix, which is what a weight scales (Kobayashi et al. 2020,
    arXiv 2004.10102). A norm on the head's output divides a whole row of them by one number; that number is left out.
    """
    kernel = attention.kernel
    v = v.repeat_interleave(attention.n_head // attention.n_kv_head, 0)  # (H, T, K)
    if kernel.norm is not None:
        v = v * kernel.norm.weight
    out = attention.out.weight.unflatten(1, (attention.n_head, -1))  # (D, H, K)
    return torch.einsum("dhk,htk->htd", out, v).norm(dim=-1)
