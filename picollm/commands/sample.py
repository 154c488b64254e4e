"""`sample`: a trained model goes on with a text, on a terminal as fast as it writes."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from picollm.commands._options import AsJson, ModelSeed, RunName
from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.loaded.folders import folder_of

if TYPE_CHECKING:
    from picollm.generation.sampling import Sampling
    from picollm.loaded.model import Loaded


def _needed(context: typer.Context, prompt: str | None) -> str | None:
    if prompt is None and not context.params.get("interactive") and not context.resilient_parsing:
        raise TyperException("Missing option '--prompt'")
    return prompt


def sample(
    run: RunName,
    prompt: Annotated[str | None, typer.Option(callback=_needed, help='how the text begins; integers for a numeric run: "3 5 7"')] = None,
    interactive: Annotated[bool, typer.Option("--interactive", is_eager=True, help="ask for one prompt after another; Ctrl-D ends")] = False,
    length: Annotated[int, typer.Option(min=1, help="new tokens at most")] = 60,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="only the k most probable tokens")] = None,
    top_p: Annotated[float | None, typer.Option(help="only the most probable tokens that together reach p")] = None,
    min_p: Annotated[float | None, typer.Option(help="only tokens at least p times as probable as the likeliest")] = None,
    repetition_penalty: Annotated[float, typer.Option(help="above 1, tokens that came before are less likely")] = 1.0,
    samples: Annotated[int, typer.Option(min=1, help="how many texts, of this seed, the next one, ...")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="end before this text, or number; may be given several times")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the random choices")] = 0,
    model_seed: ModelSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Continue a prompt, token by token.

    Example: python -m picollm sample fables_transformer --prompt "Once upon a time" --top-p 0.9
    """
    from picollm.generation.sampling import Sampling
    from picollm.loaded.model import Loaded, talking

    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty}
    sampling = parse(Sampling, options, "sample")
    folder = folder_of(run, model_seed)
    facts = talking(folder)
    writer = Writer(Loaded(folder), facts, length, sampling, stop or (), as_json)
    if prompt is not None:
        writer.write(prompt, range(seed, seed + samples))
    if interactive:
        _ask(writer, seed if prompt is None else seed + samples, samples)


@dataclass(frozen=True)
class Writer:
    """Prints what a model writes after a prompt: as it comes where somebody watches, all texts at once where a program reads them."""

    model: "Loaded"
    facts: dict[str, Any]
    length: int
    sampling: "Sampling"
    stop: Sequence[str]
    as_json: bool

    def write(self, prompt: str, seeds: range) -> None:
        from picollm.generation.samples import continuations

        between = " " if self.facts["tokenizer"]["kind"] == "integers" else ""
        if self.as_json:
            for seed in seeds:
                print(json.dumps(self._data(prompt, seed, between), sort_keys=True, allow_nan=False))
        elif sys.stdout.isatty():
            for seed in seeds:
                pieces = self._pieces(prompt, seed, between)
                print(prompt, end="", flush=True)
                for piece in pieces:
                    print(piece, end="", flush=True)
                print()
        else:
            for text in continuations(self.model.model, self.facts, prompt, self.length, self.sampling, seeds, self.stop):
                print(prompt, text, sep=between)

    def _pieces(self, prompt: str, seed: int, between: str) -> Iterator[str]:
        tokens = self.model.write(prompt, self.length, self.sampling, seed, self.stop)
        pieces = (between + token.text for token in tokens if not (between and token.ends))
        return pieces if between else until(pieces, self.stop)

    def _data(self, prompt: str, seed: int, between: str) -> dict[str, object]:
        tokens = list(self.model.write(prompt, self.length, self.sampling, seed, self.stop))
        pieces = (token.text for token in tokens if not (between and token.ends))
        text = between.join(pieces) if between else "".join(until(pieces, self.stop))
        return {"prompt": prompt, "seed": seed, "text": text, "tokens": [token.data() for token in tokens]}


def until(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """`pieces` of a text up to the first of `stop`, which may begin in one piece and end in another: what may be its beginning is held back."""
    held = ""
    for piece in pieces:
        held += piece
        first = _first(held, stop)
        begun = next((place for place in range(len(held)) if any(text.startswith(held[place:]) for text in stop)), len(held))
        if first < len(held) and first <= begun:
            yield held[:first]
            return
        if first == len(held):  # else one that began before it may still come about
            yield held[:begun]
            held = held[begun:]
    yield held[: _first(held, stop)]


def _first(text: str, stop: Sequence[str]) -> int:
    """Where the first of `stop` begins, the end where there is none."""
    return min((place for string in stop if (place := text.find(string)) >= 0), default=len(text))


def _ask(writer: Writer, seed: int, samples: int) -> None:
    """Every prompt has seeds of its own: the same words again are gone on with in another way."""
    with suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and a history, where the system has it
    while True:
        try:
            prompt = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        try:
            writer.write(prompt, range(seed, seed + samples))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:  # enough of this text
            print()
        seed += samples
