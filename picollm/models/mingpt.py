"""minGPT (Karpathy 2020) in the size of its course project: a GPT-2 of 6 blocks."""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

MINGPT = {"positions": "learned", "activation": "gelu_tanh", "norm": "layernorm", "bias": True, "tie_embeddings": True, "init": "gpt2"}
SIZES = {
    "small": {**MINGPT, "n_layer": 6, "n_head": 6, "d_model": 384, "d_ff": 1536, "block_size": 1024},
    "tiny": {**MINGPT, "n_layer": 2, "n_head": 2, "d_model": 48, "block_size": 256},
}
