"""The parameters of a text task: where the text comes from, how it is split, how it becomes tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from picollm import registry
from picollm.config import STRICT

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe


@dataclass(frozen=True)
class TokenizerConfig:
    __pydantic_config__: ClassVar = STRICT

    kind: str  # gpt2, bpe or chars: a module of picollm.tokenizers
    vocab_size: int | None = None  # of bpe, with the end token

    def __post_init__(self) -> None:
        tokenizer = registry.load("tokenizers", self.kind, "kind").Tokenizer
        if not tokenizer.spells_text:
            raise ValueError(f"kind: {self.kind} spells no text; take bpe, chars or gpt2")
        smallest = tokenizer.smallest
        if smallest is None and self.vocab_size is not None:
            raise ValueError(f"vocab_size: {self.kind} has a vocabulary of its own; remove the parameter")
        if smallest is not None and (self.vocab_size or 0) < smallest:
            raise ValueError(f"vocab_size: {self.vocab_size}; {self.kind} needs one, of at least {smallest}")


@dataclass(frozen=True)
class Config:
    """One entry under `tasks:`.

    Shares: of one file, its characters, in the order training, validation, test; of a folder or a hub data set, its
    documents, drawn by their hash (a hub set's own validation and test splits are taken where it has them); of fables,
    the number of stories told beside the `stories` of the training split.
    """

    __pydantic_config__: ClassVar = STRICT

    kind: Literal["text"]
    tokenizer: TokenizerConfig
    source: str = "fables"  # or a file, a folder of *.txt, tinystories, wikitext-103, hub:NAME[:CONFIG]
    stories: int | None = None  # fables to train on
    validation: float = 0.05
    test: float = 0.05
    limit: int | None = None  # documents read from each split of a folder or hub data set
    text_column: str = "text"  # of a hub data set
    seed: int = 0  # of the fables and of the split by hash

    def __post_init__(self) -> None:
        if not self.source.removeprefix("hub:").strip():  # it would be the folder that the command runs in
            raise ValueError(f"source: {self.source!r} names nothing; give fables, a file, a folder, tinystories, wikitext-103 or hub:NAME")
        if (self.source == "fables") != (self.stories is not None):
            raise ValueError("stories: is the size of source fables and of no other; " + ("give it" if self.stories is None else "remove it, or see limit"))
        if self.source == "fables" and self.limit is not None:
            raise ValueError("limit: source fables is limited by stories; remove it")
        for name in ("stories", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value}; give at least 1")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: {self.validation} is no share of the text; give 0 < validation < 1")
        if not 0 <= self.test < 1 - self.validation:
            raise ValueError(f"test: {self.test} is no share of what validation leaves; give 0 <= test < {1 - self.validation:g}")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")

    def trained_length(self, recipe: "Recipe") -> int:
        """The tokens that a model is given at once. Raises ValueError for a recipe that a text does not allow."""
        if recipe.data == "fixed":
            raise ValueError("data: the windows of a text are drawn at random, and are no fixed set to count epochs of; remove it, and give steps")
        return recipe.context

    @property
    def splits(self) -> list[str]:
        return ["train", "validation", *(["test"] if self.test else [])]
