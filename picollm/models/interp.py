"""The transformer of the interpretability course project: rotary positions, layer norm, SwiGLU, dropout; trained on 384 tokens."""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

INTERP = {"positions": "rope", "activation": "swiglu", "norm": "layernorm", "bias": True, "tie_embeddings": False, "dropout": 0.1, "init": "gpt2"}
SIZES = {
    "small": {**INTERP, "n_layer": 8, "n_head": 7, "d_model": 448, "block_size": 512},
    "tiny": {**INTERP, "n_layer": 2, "n_head": 4, "d_model": 64, "block_size": 256},
}
