"""GPT-2 (Radford et al. 2019): learned positions, layer norm before each part, GELU by tanh, tied head.

`small` is the course project's form, cut to 8 of its 12 blocks; `full` the public model, given its vocabulary of 50,257.
"""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

GPT2 = {"positions": "learned", "activation": "gelu_tanh", "norm": "layernorm", "bias": True, "tie_embeddings": True, "init": "gpt2"}
SIZES = {
    "small": {**GPT2, "n_layer": 8, "n_head": 12, "d_model": 768, "block_size": 1024},
    "tiny": {**GPT2, "n_layer": 2, "n_head": 4, "d_model": 64, "block_size": 256},
    "full": {**GPT2, "n_layer": 12, "n_head": 12, "d_model": 768, "block_size": 1024, "allow_deep": True},
}
