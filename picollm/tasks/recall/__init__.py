"""Multi-query associative recall: key-value pairs, then some of the keys again: which value did each come with?"""

from picollm.tasks._rows import tokenize
from picollm.tasks.recall.config import Config
from picollm.tasks.recall.sampling import stream
from picollm.tasks.recall.sets import generate

__all__ = ["Config", "generate", "stream", "tokenize"]
