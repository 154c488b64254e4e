"""The decoder-only transformer with all of its options, see picollm/nn/decoder.py."""

from picollm.nn.decoder import Config, Model

__all__ = ["Config", "Model"]
