"""The parameters of a text task: where the text comes from, how it is split, how it becomes tokens."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from picollm.core import registry
from picollm.core.config import STRICT, not_negative

if TYPE_CHECKING:
    from picollm.training.recipe import Recipe

HELDOUT = ("heldout_templates", "heldout_combinations")  # splits of fables: what training never sees
SIZE = {"fables": "stories", "3seqs": "limit"}  # of what is made and not read: the parameter that says how much


@dataclass(frozen=True)
class TokenizerConfig:
    __pydantic_config__: ClassVar = STRICT

    kind: str  # gpt2, bpe, chars or bytes: a module of picollm.tokenizers
    vocab_size: int | None = None  # of bpe, with the end token
    sample: int = 100_000_000  # characters that bpe learns from: of a longer training text, parts spread evenly over it

    def __post_init__(self) -> None:
        tokenizer = registry.load("tokenizers", self.kind, "kind").Tokenizer
        if not tokenizer.spells_text:
            raise ValueError(f"kind: {self.kind} spells no text; take bpe, bytes, chars or gpt2")
        smallest = tokenizer.smallest
        if smallest is None and self.vocab_size is not None:
            raise ValueError(f"vocab_size: {self.kind} has a vocabulary of its own; remove the parameter")
        if smallest is not None and (self.vocab_size or 0) < smallest:
            raise ValueError(f"vocab_size: {self.vocab_size}; {self.kind} needs one, of at least {smallest}")
        if self.sample < 1:
            raise ValueError(f"sample: {self.sample} characters; give at least 1")
        if smallest is None and self.sample != type(self).sample:
            raise ValueError(f"sample: {self.kind} learns from no sample; remove the parameter")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where documents come from, and how many of them are taken."""

    __pydantic_config__: ClassVar = STRICT

    source: str = "fables"  # or 3seqs, notebook, a file, a folder of *.txt, tinystories, wikitext-103, wikipedia, hub:NAME[:CONFIG]
    stories: int | None = None  # fables to train on
    lines: bool = False  # is every line of a file, a folder or a data set a document? (those of notebook and 3seqs are)
    share: float = 1.0  # of the documents, drawn by their hash; a data set's own validation and test splits are left whole
    limit: int | None = None  # the first documents: of a folder, or of each split of a data set; how many lines of 3seqs there are
    text_column: str = "text"  # of a data set

    def __post_init__(self) -> None:
        if not self.source.removeprefix("hub:").strip():  # it would be the folder that the command runs in
            raise ValueError(f"source: {self.source!r} names nothing; give fables, a file, a folder, tinystories, wikitext-103 or hub:NAME")
        if (self.source == "fables") != (self.stories is not None):
            raise ValueError("stories: is the size of source fables and of no other; " + ("give it" if self.stories is None else "remove it, or see limit"))
        for name in {"fables": ("limit", "share", "lines"), "3seqs": ("share",)}.get(self.source, ()):
            if getattr(self, name) != getattr(Source, name):
                raise ValueError(f"{name}: is for sources that are read, and {self.source} are made; remove it, {SIZE[self.source]} is their size")
        for name in ("stories", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value}; give at least 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is no share of the documents; give 0 < share <= 1")
        if self.source == "wikipedia" and self.limit is None:
            raise ValueError("limit: wikipedia has some six million articles; say how many of them, or of their lines, to read")

    @property
    def name(self) -> str:
        """What the source is called beside others: a path or data set by its last part."""
        return re.sub(r"[^\w.-]", "_", Path(self.source.removeprefix("hub:").partition(":")[0]).stem)

    @property
    def probability_known(self) -> bool:
        """Does every document come with its -log2 p?"""
        return self.source in SIZE


@dataclass(frozen=True, kw_only=True)
class Weighted(Source):
    """One source of a mixture."""

    weight: float = 1.0  # its part of the windows trained on, relative to the other weights; with 0 it is only measured

    def __post_init__(self) -> None:
        not_negative(self, "weight")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class Config(Source):
    """One entry under `tasks:`, of one source, or of a list of weighted `sources`.

    Shares: of one file, its characters, in the order training, validation, test; of other sources, their documents, drawn by
    their hash (a data set's own validation and test splits are taken where it has them); of fables, the number of stories
    told beside the `stories` of the training split.
    """

    kind: Literal["text"]
    tokenizer: TokenizerConfig
    sources: list[Weighted] | None = None
    validation: float = 0.05
    test: float = 0.05
    heldout: float | None = None  # of fables, in each of the sets that need what training never sees; the share of test, unless given
    seed: int = 0  # of what is generated, and of the draws by hash

    def __post_init__(self) -> None:
        if self.sources is None:
            super().__post_init__()
        else:
            self._check_sources(self.sources)
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: {self.validation} is no share of the text; give 0 < validation < 1")
        if not 0 <= self.test < 1 - self.validation:
            raise ValueError(f"test: {self.test} is no share of what validation leaves; give 0 <= test < {1 - self.validation:g}")
        if self.heldout is not None and (self.source != "fables" or self.sources is not None):
            raise ValueError("heldout: is for a task whose only source is fables; remove it")
        if self.heldout is not None and not 0 <= self.heldout < 1:
            raise ValueError(f"heldout: {self.heldout} is no share of the stories; give 0 <= heldout < 1")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative; give 0 or more")

    def _check_sources(self, sources: list[Weighted]) -> None:
        for field in fields(Source):
            if getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name}: belongs to an entry of sources; move it there")
        if not sources:
            raise ValueError("sources: is empty; list at least one, or name one as source")
        if not sum(source.weight for source in sources):
            raise ValueError("sources: all weights are 0, so there is nothing to train on; give one a weight")
        names = [source.name for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"sources: two are called {name!r}; rename a file or folder, or take it once")

    def trained_length(self, recipe: "Recipe") -> int:
        """The tokens that a model is given at once."""
        return recipe.context

    @property
    def splits(self) -> list[str]:
        heldout = HELDOUT if self.source == "fables" and self.sources is None and self.share_of(HELDOUT[0]) else ()
        return ["train", "validation", *(["test"] if self.test else []), *heldout]

    def share_of(self, split: str) -> float:
        """The size of a split beside training."""
        if split in HELDOUT:
            return self.test if self.heldout is None else self.heldout
        return {"validation": self.validation, "test": self.test}[split]

    @property
    def weights(self) -> dict[str, float]:
        """{name of a source: its share of what is trained on}, in their order; empty for a task of one source."""
        total = sum(source.weight for source in self.sources or [])
        return {source.name: source.weight / total for source in self.sources or []}
