"""A walk modulo a number whose law of steps is unknown and differs between sequences: how likely a step is must be counted."""

from picollm.tasks._rows import tokenize
from picollm.tasks.urn.config import Config
from picollm.tasks.urn.sets import generate, stream

__all__ = ["Config", "generate", "stream", "tokenize"]
