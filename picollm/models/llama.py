"""Llama 3 (arXiv 2407.21783): rotary positions, RMS norm, SwiGLU, shared key and value heads, no biases.

`lite` is the course project's form, without shared heads and drawn Xavier-uniform; `full` is Llama 3 8B, given its
vocabulary of 128,256.
"""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

LLAMA = {"positions": "rope", "activation": "swiglu", "norm": "rmsnorm", "bias": False, "tie_embeddings": False}
LITE = {**LLAMA, "init": "xavier_uniform"}
SIZES = {
    "lite": {**LITE, "n_layer": 8, "n_head": 16, "d_model": 1024, "d_ff": 8192},
    "tiny": {**LITE, "n_layer": 2, "n_head": 4, "d_model": 64, "n_kv_head": 2},
    "full": {
        **LLAMA,
        "n_layer": 32,
        "n_head": 32,
        "n_kv_head": 8,
        "d_model": 4096,
        "d_ff": 14336,
        "rope_theta": 500_000,
        "block_size": 8192,
        "allow_deep": True,
    },
}
