"""Parity: after every bit, is the number of ones so far odd? The smallest task that a state must be tracked for."""

from picollm.tasks._rows import tokenize
from picollm.tasks.parity.config import Config
from picollm.tasks.parity.sets import generate, stream

__all__ = ["Config", "generate", "stream", "tokenize"]
