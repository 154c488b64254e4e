"""What the page asks: which runs there are, what one writes, where a head looks. Requests are JSON, answers dictionaries that JSON can hold.

Runs are named, never paths: the page reaches no other folder of the disk.
"""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picollm import models
from picollm.core.config import STRICT, parse
from picollm.core.errors import UserError, did_you_mean
from picollm.core.files import read_record
from picollm.generation.sampling import Sampling
from picollm.loaded import floors
from picollm.loaded.folders import folder_of, home_of, models_of, trained
from picollm.loaded.model import Loaded, talking
from picollm.loaded.tokens import Token, finite
from picollm.training.checkpoints import read_config

LONGEST = 1000  # new tokens, and tokens of a prompt
DRAWN = 256  # tokens whose attention is shown: more than that is no picture
KEPT = 4  # models in memory

Answer = dict[str, Any]


@dataclass(frozen=True)
class Write:
    __pydantic_config__ = STRICT

    run: str
    prompt: str
    model: int = 0  # which of the run's
    length: int = 60
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not 1 <= self.length <= LONGEST:
            raise ValueError(f"length: must be from 1 to {LONGEST}, not {self.length}")
        if self.seed < 0 or self.model < 0:
            raise ValueError("seed: is negative; give 0 or more")


@dataclass(frozen=True)
class Attention:
    __pydantic_config__ = STRICT

    run: str
    ids: list[int]  # of the whole text, without the start of a document
    layer: int
    head: int
    model: int = 0


class Answers:
    """`runs`, `write` and `attention`, with the models they need. Raises UserError for what cannot be answered."""

    def __init__(self) -> None:
        self.loaded: dict[tuple[Path, int], Loaded] = {}
        self.lock = threading.Lock()

    def runs(self) -> Answer:
        return {"runs": [_described(run) for run in trained() if models_of(run)]}

    def write(self, request: Any) -> Iterator[Answer]:
        """{"prompt": tokens, ...}, {"token": ...} for each, {"end": sums}. What is wrong with the request is said before the first of them."""
        asked = parse(Write, request, "request")
        model = self._model(asked.run, asked.model)
        prompt = model.read(asked.prompt, "prompt")
        if len(prompt) > LONGEST:
            raise UserError(f"prompt: {len(prompt)} tokens, and {LONGEST} are the most that are read here; shorten it")
        tokens = model.write(asked.prompt, asked.length, asked.sampling, asked.seed)
        return _told(model, asked.prompt, prompt, tokens)

    def attention(self, request: Any) -> Answer:
        asked = parse(Attention, request, "request")
        model = self._model(asked.run, asked.model)
        layers, heads = model.heads()
        ids = [*([model.model.vocab_size - 1] if model.facts["whole"] else []), *asked.ids]
        if not 1 <= len(ids) <= DRAWN:
            raise UserError(f"ids: {len(ids)} tokens; attention is shown of 1 to {DRAWN}")
        for name, value, most in (("layer", asked.layer, layers), ("head", asked.head, heads), *(("ids", token, model.model.vocab_size) for token in ids)):
            if not 0 <= value < most:
                raise UserError(f"{name}: {value} is not from 0 to {most - 1}")
        found = model.attention(ids)
        weights = found.attention[asked.layer, asked.head]
        return {"tokens": list(found.tokens), "weights": [[round(float(weight), 4) for weight in row] for row in weights]}

    def _model(self, run: str, number: int) -> Loaded:
        """From memory, unless it has been trained again."""
        if run not in trained():
            raise UserError(f"run: no such run {run!r} {did_you_mean(run, trained())}")
        folder = folder_of(run, number)
        talking(folder)
        key = (folder, (folder / "model.safetensors").stat().st_mtime_ns)
        with self.lock:
            model = self.loaded.pop(key, None) or Loaded(folder)
            while len(self.loaded) >= KEPT:
                del self.loaded[next(iter(self.loaded))]  # asked for longest ago
            self.loaded[key] = model
            return model


def _told(model: Loaded, text: str, prompt: tuple[Token, ...], tokens: Iterator[Token]) -> Iterator[Answer]:
    between = "" if model.spelling.tokenizer.spells_text else " "
    yield {"prompt": [token.data() for token in prompt], "between": between}
    written = []
    for token in tokens:
        written.append(token)
        yield {"token": token.data()}
    yield {"end": _sums(model, text, prompt, written)}


def _sums(model: Loaded, text: str, prompt: tuple[Token, ...], written: list[Token]) -> Answer:
    """Bits spent, and of the exact predictor: of the written terms, or of the story that prompt and writing make together."""
    ended = bool(written) and written[-1].ends
    sums: Answer = {"bits": _bits(written), "floor_bits": None, "tokens": len(written), "ended": ended, "of": "what was written"}
    known = [token.floor_bits for token in written]
    if None not in known:
        return {**sums, "floor_bits": finite(math.fsum(bits for bits in known if bits is not None))}
    if ended and (story := floors.of_story(model.facts, text + "".join(token.text for token in written))) is not None:
        return {**sums, "bits": _bits([*prompt, *written]), "floor_bits": story, "of": "the whole story"}
    return sums


def _bits(tokens: list[Token]) -> float | None:
    return finite(math.fsum(token.bits for token in tokens if token.bits is not None))


def _described(run: str) -> Answer:
    """A run as the page lists it, from its files alone: no model is loaded for a list."""
    folder = home_of(run) / models_of(run)[0]
    facts = read_config(folder)
    config = models.configure(facts["model"], f"{folder / 'config.json'}: model")
    attention = getattr(config, "attention", None)
    return {
        "name": run,
        "models": len(models_of(run)),
        "task": facts.get("task"),
        "kind": attention or config.kind,
        "heads": None if attention in (None, "convolution") else [config.depth, config.n_head],
        "numbers": facts.get("tokenizer", {}).get("kind") == "integers",
        "refused": _refusal(lambda: talking(folder)),
        "floor": _floor(facts.get("task")),
    }


def _refusal(ask: Callable[[], Any]) -> str | None:
    try:
        ask()
    except UserError as error:
        return str(error)
    return None


def _floor(task: str | None) -> Answer | None:
    """The least that any model can spend on the task's test set, on average: {"bits", "of"}."""
    metrics = read_record(Path(f"metrics/generate/{task}.json"))
    if "floor" in metrics:
        return {"bits": metrics["floor"]["loss"] / math.log(2), "of": "term"}
    bits = metrics.get("splits", {}).get("test", {}).get("floor_bits_per_byte")
    return None if bits is None else {"bits": bits, "of": "byte"}
