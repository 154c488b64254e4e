"""Addition: `+1342+879+2221+`, the sum of numbers digit by digit, in any base, either order, with zeros in front or without."""

from picollm.tasks.addition.config import Config
from picollm.tasks.addition.sampling import stream
from picollm.tasks.addition.sets import generate, tokenize

__all__ = ["Config", "generate", "stream", "tokenize"]
