"""The transformer of the Pico-LLM course project: learned positions, RMS norm before each part, PyTorch's own initial weights.

What the project does not say (activation, biases, an untied head) is as its starter code and PyTorch's defaults have it.
"""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

PICO = {"positions": "learned", "activation": "gelu", "norm": "rmsnorm", "bias": True, "tie_embeddings": False, "init": "torch_default"}
SIZES = {
    "512": {**PICO, "n_layer": 6, "n_head": 8, "d_model": 512, "block_size": 512},
    "128": {**PICO, "n_layer": 6, "n_head": 8, "d_model": 128, "block_size": 1024},
    "1024": {**PICO, "n_layer": 8, "n_head": 16, "d_model": 1024, "block_size": 1024},
    "tiny": {**PICO, "n_layer": 2, "n_head": 4, "d_model": 64, "block_size": 256},
}
