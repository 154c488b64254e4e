"""Text: fables whose exact entropy is known, a file or folder of one's own, or a data set of the Hugging Face hub."""

from picollm.tasks.text.config import Config
from picollm.tasks.text.encode import tokenize
from picollm.tasks.text.raw import generate
from picollm.tasks.text.sources import check

__all__ = ["Config", "check", "generate", "tokenize"]
