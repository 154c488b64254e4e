"""Numeric sequences: counting, arithmetic, geometric, alternating, random walk; with the exact best possible loss."""

from picollm.tasks._rows import tokenize
from picollm.tasks.numeric.config import Config
from picollm.tasks.numeric.sampling import stream
from picollm.tasks.numeric.sets import generate

__all__ = ["Config", "generate", "stream", "tokenize"]
