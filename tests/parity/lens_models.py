"""Small models of ours to be compared: of each architecture that TransformerLens has too, one of random weights and one that was trained to copy."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from picollm.nn.decoder import Config, Model

V, T, N = 17, 24, 12
SMALL = {"n_layer": 2, "n_head": 4, "d_model": 32, "block_size": 32}
ARCHITECTURES = {
    "gpt2": {"positions": "learned", "activation": "gelu_tanh"},
    "gelu": {"positions": "learned", "tie_embeddings": False, "bias": False},
    "rope": {"tie_embeddings": False},
    "llama": {"norm": "rmsnorm", "activation": "swiglu", "bias": False, "tie_embeddings": False, "n_kv_head": 2, "head_width": 12},
}


def repeated(rows: int, seed: int) -> torch.Tensor:
    """(rows, T) random tokens that repeat, each row with a period of its own: what an induction head can be seen on, and learns from."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(np.stack([np.resize(rng.permutation(V)[: rng.integers(7, 12)], T) for _ in range(rows)]))


@cache
def built(architecture: str, weights: str) -> Model:
    torch.manual_seed(0)
    model = Model(Config(**SMALL, **ARCHITECTURES[architecture]), V)
    (shake if weights == "random" else train)(model)
    return model.eval()


@torch.no_grad()
def shake(model: Model) -> None:
    """No weight, bias or gain at its neutral start, and attention that prefers something."""
    for name, parameter in model.named_parameters():
        parameter.add_(torch.randn_like(parameter) * (0.1 if "norm" in name else 0.15))


def train(model: Model) -> None:
    """To copy what came before, for which two layers must work together. With a tied head that takes longer than a test may."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.006, betas=(0.9, 0.98))
    for step in range(200 if model.config.tie_embeddings else 1000):
        ids = repeated(64, step)
        loss = F.cross_entropy(model(ids[:, :-1])[:, 12:].flatten(0, 1), ids[:, 13:].flatten())
        if loss < 0.3:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.config.tie_embeddings, f"{loss.item():.2f} nats: it has not learned to copy"
