"""A trained model with its tokenizer and its task: what `picollm.load` gives."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.explorer.spelling import Spelling
from picollm.generation.generate import check, steps
from picollm.generation.samples import beginning, continuations, room
from picollm.generation.sampling import Sampling, warp
from picollm.loaded import floors
from picollm.loaded.explained import Explanation
from picollm.loaded.folders import folder_of
from picollm.loaded.scores import Score
from picollm.loaded.tokens import Speller, Token, seen, spelled
from picollm.nn.decoder import attention_matrices
from picollm.tokenizers._shared import Base
from picollm.training.checkpoints import load_model, read_config


def talking(folder: Path) -> dict[str, Any]:
    """The facts of a checkpoint that continues texts. Raises UserError for one that answers about them."""
    facts = read_config(folder, "tokenizer", "whole", "targets")
    if facts["targets"]:
        raise UserError(f"{facts.get('run', folder)}: answers about the tokens it is given, and does not continue them; sample a run of another task")
    return facts


class Loaded:
    """Writes, scores and explains texts; all else that it is asked for is the model's own (`n_parameters`, `config`, `to`, a call, ...).

    >>> import picollm
    >>> model = picollm.load("classic_linear")
    >>> model.generate("3 5 7", length=4, temperature=0) == model.generate("3 5 7", length=4, temperature=0)
    True
    >>> score = model.score("3 5 7")
    >>> [token.text for token in score.tokens], score.counted
    (['3', '5', '7'], 2)
    >>> model.explain("3 5 7").attention.shape  # layers, heads, tokens, tokens
    (2, 4, 3, 3)
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, load_model(folder)
        self.facts = read_config(folder)

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # not there yet: without this, a copy in the making would look for it here for ever
            raise AttributeError(name)
        return getattr(self.model, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.model(*args, **options)

    def __repr__(self) -> str:
        return f"<{self.folder}: {self.model!r}>"

    def generate(self, prompt: str, length: int = 60, seed: int = 0, stop: Sequence[str] = (), **sampling: Any) -> str:
        """What the model writes after `prompt`, as `python -m picollm sample` does; `sampling`: temperature, top_k, top_p, min_p, repetition_penalty."""
        (text,) = continuations(self.model, talking(self.folder), prompt, length, parse(Sampling, sampling, "generate"), [seed], stop)
        return text

    def next_tokens(self, prompt: str, **sampling: Any) -> list[tuple[str, float]]:
        """What could come after `prompt` and how probably it would be drawn, the likeliest first; a temperature of 0 leaves the model's own probabilities."""
        _, ids, _ = beginning(talking(self.folder), prompt)
        check(self.model, len(ids), 1, "prompt")
        tokens = torch.tensor([ids], device=self.model.device)
        with torch.inference_mode():
            chances = warp(self.model.logits(tokens)[:, -1].float(), parse(Sampling, sampling, "next_tokens"), tokens)[0].double().softmax(-1).cpu()
        order = chances.argsort(descending=True, stable=True)[: int((chances > 0).sum())]
        return [(self.spelling.label(int(token)), float(chances[token])) for token in order]

    def stream(self, prompt: str, length: int = 60, seed: int = 0, stop: Sequence[str] = (), **sampling: Any) -> Iterator[Token]:
        """The tokens of `generate` one by one, the one that ends the text included. `stop` are numbers here: strings may begin and end inside of tokens."""
        return self.write(prompt, length, parse(Sampling, sampling, "generate"), seed, stop)

    def write(self, prompt: str, length: int, sampling: Sampling, seed: int = 0, stop: Sequence[str] = ()) -> Iterator[Token]:
        """As `stream`. What is wrong with the prompt is said at once, and not when the first token is asked for."""
        coder, ids, ends = beginning(talking(self.folder), prompt, stop)
        length = room(self.model, len(ids), length)
        check(self.model, len(ids), length, "prompt")
        return self._tokens(coder, ids, ends, length, sampling, seed)

    def _tokens(self, coder: Base, ids: list[int], ends: set[int], length: int, sampling: Sampling, seed: int) -> Iterator[Token]:
        speller = Speller(coder)
        for count, (logits, new) in enumerate(steps(self.model, torch.tensor([ids]), length, sampling, [seed]), 1):
            ids = [*ids, int(new)]
            ended = ids[-1] in ends
            text = speller.add(ids[-1], ended or count == length)
            yield Token(ids[-1], text, *seen(self.spelling.label, logits[0], ids[-1]), self._floors(ids)[-1], ended)
            if ended:
                return

    def score(self, text: str, end: bool = True) -> Score:
        """The probability of every token of `text`. Where training had whole documents, the text is one, its end is scored too, unless `end` is False."""
        whole = end and bool(self.facts["whole"])
        tokens = self.read(text, "text", whole)
        if not any(token.probability is not None for token in tokens):
            raise UserError(f"text: {len(tokens)} tokens leave nothing to predict; give a longer one")
        if whole:
            return Score(tokens, floors.of_story(self.facts, text), len(text.encode()))
        known = [token.floor_bits for token in tokens if token.probability is not None]
        return Score(tokens, None if None in known else math.fsum(bits for bits in known if bits is not None), None)

    def read(self, text: str, parameter: str, end: bool = False) -> tuple[Token, ...]:
        """The tokens of a text, which came from `parameter`, as the model sees them coming; the end of a document too, where `end` says so."""
        coder, ids, _ = beginning(talking(self.folder), text, parameter=parameter)
        ids = [*ids, coder.end] if end else ids
        logits = torch.empty(0)
        if len(ids) > 1:
            check(self.model, len(ids) - 1, 1, parameter)
            with torch.inference_mode():
                logits = self.model.logits(torch.tensor([ids[:-1]], device=self.model.device))[0].float()
        return tuple(spelled(coder, self.spelling.label, ids, logits, int(self.facts["whole"]), self._floors(ids)))

    def explain(self, text: str) -> Explanation:
        """Where every head looks; an adder is given a sum, "1342+879". Raises UserError for a model without heads."""
        return self.attention(self.spelling.read(text, "text").tolist())

    def attention(self, ids: Sequence[int]) -> Explanation:
        """The same of ids, the start token of a document included."""
        self.heads()
        model: Any = self.model  # a decoder: it has heads
        check(model, len(ids), 1, "text")
        attention = attention_matrices(model, torch.tensor([ids], device=model.device))[:, 0]
        return Explanation(tuple(map(self.spelling.label, ids)), attention.float().cpu().numpy())

    def heads(self) -> tuple[int, int]:
        """How many layers a token passes, and the heads of each."""
        config = self.model.config
        if not hasattr(self.model, "attention_weights"):
            raise UserError(f"{self.folder}: {config.kind} has no attention; explain a transformer")
        if config.attention == "convolution":
            raise UserError(f"{self.folder}: a convolution has no attention matrix; explain a model with heads")
        return config.depth, config.n_head

    @cached_property
    def _floors(self) -> Any:
        return floors.predictor(self.facts)

    @cached_property
    def spelling(self) -> Spelling:
        return Spelling(read_config(self.folder, "tokenizer"))


def load(path: str | Path, seed: int = 0) -> Loaded:
    """A folder, or a run's name: then the model of `seed`."""
    named = isinstance(path, str) and len(Path(path).parts) == 1 and not Path(path).is_dir()
    return Loaded(folder_of(str(path), seed) if named else Path(path))
