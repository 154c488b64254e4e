"""gpt-oss (OpenAI 2025): rotary positions, RMS norm, SwiGLU, an untied head.

`small` is the course project's form of it. `full` has all parts of the public gpt-oss-20b, given its vocabulary of 201,088,
but a single expert in the place of 32: sinks, windows of 128 tokens in every other block, 8 query heads to a key and value head,
heads wider than D / H, a clamped SwiGLU with biases, YaRN. `tiny` has the same parts.
"""

from picollm.nn.decoder import Config, Model

__all__ = ["SIZES", "Config", "Model"]

COMMON = {"positions": "rope", "norm": "rmsnorm", "tie_embeddings": False, "init": "gpt2"}
PARTS = {**COMMON, "activation": "swiglu_clamped", "bias": True, "sinks": True, "full_every": 2, "rope_theta": 150_000}
SIZES = {
    "small": {**COMMON, "activation": "swiglu", "bias": False, "n_layer": 8, "n_head": 8, "d_model": 512, "d_ff": 2048},
    "tiny": {**PARTS, "n_layer": 2, "n_head": 4, "n_kv_head": 2, "d_model": 64, "d_ff": 176, "sliding_window": 16},
    "full": {
        **PARTS,
        "n_layer": 24,
        "n_head": 64,
        "n_kv_head": 8,
        "head_width": 64,
        "d_model": 2880,
        "d_ff": 2880,
        "sliding_window": 128,
        "yarn_factor": 32,
        "yarn_length": 4096,
        "block_size": 4096,
        "allow_deep": True,
    },
}
