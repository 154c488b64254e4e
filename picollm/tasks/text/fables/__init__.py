"""Fables: short children's stories from a probabilistic grammar whose entropy is known exactly."""

from picollm.tasks.text.fables.entropy import Expectation, expected
from picollm.tasks.text.fables.facts import statistics
from picollm.tasks.text.fables.generate import Mention, Sentence, Span, Story, stories
from picollm.tasks.text.fables.minimal import pairs
from picollm.tasks.text.fables.parse import Derivation, log2_probability, parse, reach
from picollm.tasks.text.fables.splits import told
from picollm.tasks.text.fables.truth import annotations

__all__ = [
    "Derivation", "Expectation", "Mention", "Sentence", "Span", "Story", "annotations", "expected", "log2_probability", "pairs", "parse", "reach",
    "statistics", "stories", "told",
]  # fmt: skip
