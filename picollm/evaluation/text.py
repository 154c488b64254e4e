"""A language model on text: loss, bits per byte and accuracy of a split, whole documents against their exact floor, and longer windows.

Bits per byte is the one figure that tokenizers share. The floor is compared on whole documents only, each predicted from its
start token with all of it inside the context and its end token counted: in a window that cuts a document the model has
lost what the floor assumes it knows.

Shapes: B batch, T time, N spans of a stream.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from picollm.core import statistics
from picollm.core.errors import UserError
from picollm.core.files import read_json
from picollm.core.tokens import TokenFolder
from picollm.models import Model
from picollm.tasks.text.config import HELDOUT
from picollm.tokenizers._shared import from_json

LOGITS = 1 << 22  # of a batch: 16 MiB, whatever the vocabulary and the length; more is slower
LONGER = (1, 2, 4)  # times the trained context
LONGER_TOKENS = 1 << 15  # in the windows of each length, so that longer ones cost no more
BINS = 8  # of positions in a context: single ones would be noise

Rows = list[dict[str, Any]]


def evaluate(model: Model, tokens: TokenFolder, raw: Path, context: int) -> dict[str, Any]:
    """All figures of one seed: {"validation": {...}, "test": {...}, "lengths": {length: {...}}, "positions": rows}, test only where the task has one.

    Fables have two sets more, "heldout_templates" and "heldout_combinations", measured against the "floor_of" the full grammar, which
    is not quite theirs: a predictor that knows only what training shows gives them no probability. And "pairs": how often, in every category
    of sentences, the right beginning of a story is more likely than the wrong one (`raw`/pairs.json).

    A split has "packed" (all of its tokens, in windows of `context`) and, where its documents are whole, "documents" (those
    that fit into the context, the others are "left_out"; where the floor is known, it and the excess over it on these very
    documents). Of a mixture "packed" is weighted as training draws, "sources" has both for each, and lengths are those of the
    heaviest. Losses are nats per token. What cannot be measured is {"skipped": reason}. `positions` are table rows, see `tables`.
    """
    model.eval()
    if model.max_length is not None and context > model.max_length:
        raise UserError(f"training.context: {context} tokens, but the model takes at most {model.max_length}; shorten it")
    result: dict[str, Any] = {}
    for name in ("validation", "test"):
        if name in tokens.header["splits"]:
            result[name] = _split(model, tokens, name, context)
    weights = tokens.weights
    streams = {source: stream for source, stream, _ in tokens.sources(list(result)[-1])}
    heaviest = max(streams, key=lambda source: weights.get(source, 1.0))
    lengths, positions = _lengths(model, streams[heaviest], context)
    for name in HELDOUT:
        if name in tokens.header["splits"]:
            every = slice(0, tokens.header["splits"][name]["documents"])
            result[name] = {"floor_of": "the full grammar", "documents": _documents(model, tokens, name, context, every)}
    if (raw / "pairs.json").exists():
        result["pairs"] = _pairs(model, tokens, raw / "pairs.json", context)
    return {**result, "lengths": lengths, "positions": positions}


def _split(model: Model, tokens: TokenFolder, name: str, context: int) -> dict[str, Any]:
    whole, first = tokens.header["splits"][name]["whole"], 0
    every = {}
    for source, stream, facts in tokens.sources(name):
        every[source] = {"packed": _packed(model, stream, facts["bytes"], context)}
        if whole:  # of all sources, or there are no arrays of documents
            every[source]["documents"] = _documents(model, tokens, name, context, slice(first, first + facts["documents"]))
        first += facts["documents"]
    if not tokens.weights:
        return every[""]
    return {"packed": _weighted({source: figures["packed"] for source, figures in every.items()}, tokens, name), "sources": every}


def _weighted(figures: dict[str, dict[str, Any]], tokens: TokenFolder, name: str) -> dict[str, Any]:
    """Of a mixture: what is to be expected of tokens that are drawn by the weights, as in training."""
    loss, accuracy, size = (0.0, 0.0, 0.0)
    for source, _, facts in tokens.sources(name):
        own, weight = figures[source], facts["weight"]
        loss += weight * own["loss"]
        accuracy += weight * own["accuracy"]
        size += weight * facts["bytes"] / own["tokens"]  # bytes that a token spells
    targets = sum(own["tokens"] for own in figures.values())
    return {"loss": loss, "perplexity": _perplexity(loss), "accuracy": accuracy, "bits_per_byte": loss / math.log(2) / size, "tokens": targets}


@torch.inference_mode()
def _scores(model: Model, stream: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predict the `lengths` tokens after each of `starts` from what lies between; yields nats and hits, (B, T) float64, 0 beyond a span's end.

    The longest come first: a batch is as wide as its first span, and holds little padding.
    """
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        T = int(lengths[order[at]])
        batch = order[at : at + max(1, LOGITS // (T * model.vocab_size))]
        places = starts[batch, None] + np.arange(T + 1)
        ids = torch.from_numpy(stream[np.minimum(places, len(stream) - 1)].astype(np.int64)).to(model.device)
        scored = torch.from_numpy(np.arange(T) < lengths[batch, None]).to(model.device)
        logits, targets = model.logits(ids[:, :-1]).float(), ids[:, 1:]
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        yield (nats.double() * scored).cpu().numpy(), ((logits.argmax(-1) == targets) & scored).double().cpu().numpy()
        at += len(batch)


def _figures(model: Model, stream: np.ndarray, starts: np.ndarray, lengths: np.ndarray, size: int) -> dict[str, Any]:
    """Means over spans that spell `size` bytes."""
    sums = [(nats.sum(), hits.sum()) for nats, hits in _scores(model, stream, starts, lengths)]
    nats, hits = (math.fsum(column) for column in zip(*sums, strict=True))
    targets = int(lengths.sum())
    loss = nats / targets
    return {"loss": loss, "perplexity": _perplexity(loss), "accuracy": hits / targets, "bits_per_byte": nats / math.log(2) / size, "tokens": targets}


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700))  # the largest a double holds is exp(709)


def _packed(model: Model, stream: np.ndarray, size: int, context: int) -> dict[str, Any]:
    """Every token but the first, once, with at most `context` before it."""
    starts = np.arange(0, len(stream) - 1, context)
    return _figures(model, stream, starts, np.minimum(context, len(stream) - 1 - starts), size)


def _documents(model: Model, tokens: TokenFolder, name: str, context: int, rows: slice) -> dict[str, Any]:
    """Some of a split's documents."""
    offsets, sizes = _array(tokens, name, "offsets")[rows.start : rows.stop + 1], _array(tokens, name, "bytes")[rows]
    lengths = np.diff(offsets)  # a document's tokens and its end
    fits = np.flatnonzero(lengths <= context)
    left_out = len(lengths) - len(fits)
    if not fits.size:
        return {"skipped": f"no document fits into a context of {context} tokens", "documents": 0, "left_out": left_out}
    size = int(sizes[fits].sum())
    result = _figures(model, tokens.split(name), offsets[fits], lengths[fits], size)
    if tokens.header["splits"][name]["bits"] is not None:
        floor = float(_array(tokens, name, "bits")[rows][fits].sum())
        result["floor_loss"] = floor * math.log(2) / result["tokens"]
        result["floor_bits_per_byte"] = floor / size
        result["excess_bits_per_byte"] = result["bits_per_byte"] - floor / size
    return {**result, "documents": len(fits), "left_out": left_out}


def _pairs(model: Model, tokens: TokenFolder, path: Path, context: int) -> dict[str, Any]:
    """The share of minimal pairs whose right text has the higher log-probability, from its start token on; a tie is wrong."""
    pairs, coder = read_json(path), from_json(tokens.header["tokenizer"])
    texts = coder.encode_batch([pair[side] for pair in pairs for side in ("right", "wrong")])
    lengths = np.array([len(text) for text in texts])
    stream = np.concatenate([np.array([coder.end]), *(np.append(text, coder.end) for text in texts)])
    starts = np.concatenate(([0], np.cumsum(lengths + 1)[:-1]))
    fits = np.repeat(lengths.reshape(-1, 2).max(1) <= context, 2)
    nats = np.full(len(texts), np.inf)
    nats[np.flatnonzero(fits)[np.argsort(-lengths[fits], kind="stable")]] = np.concatenate(  # in the order of _scores
        [batch.sum(1) for batch, _ in _scores(model, stream, starts[fits], lengths[fits])] or [[]]
    )
    hits: dict[str, list[bool]] = {}
    for pair, whole, (right, wrong) in zip(pairs, fits[::2], nats.reshape(-1, 2), strict=True):
        if whole:
            hits.setdefault(pair["category"], []).append(bool(right < wrong))
    left_out = int((~fits[::2]).sum())
    if not hits:
        return {"skipped": f"no pair fits into a context of {context} tokens", "left_out": left_out}
    categories = {name: {"accuracy": sum(own) / len(own), "pairs": len(own)} for name, own in hits.items()}
    return {"accuracy": sum(own["accuracy"] for own in categories.values()) / len(categories), "categories": categories, "left_out": left_out}


def _lengths(model: Model, stream: np.ndarray, context: int) -> tuple[dict[str, Any], Rows]:
    """Windows of 1, 2 and 4 contexts, spread over the stream, and the loss by position inside of them."""
    results: dict[str, Any] = {}
    positions: Rows = []
    for length in (factor * context for factor in LONGER):
        if model.max_length is not None and length > model.max_length:
            results[str(length)] = {"skipped": f"the model takes at most {model.max_length} tokens"}
            continue
        if len(stream) <= length:
            results[str(length)] = {"skipped": f"the split has {len(stream)} tokens"}
            continue
        count = max(1, min(LONGER_TOKENS, len(stream) - 1) // length)
        starts = np.linspace(0, len(stream) - 1 - length, count).astype(np.int64)
        parts = [(nats.sum(0), hits.sum()) for nats, hits in _scores(model, stream, starts, np.full(count, length))]
        nats = np.sum([nats for nats, _ in parts], 0) / count  # (T,) mean at each position
        results[str(length)] = {"loss": float(nats.mean()), "accuracy": float(sum(hits for _, hits in parts) / count / length)}
        width = max(1, context // BINS)
        positions += [
            {"length": length, "position": min(start + width, length), "loss": round(float(nats[start : start + width].mean()), 6)}
            for start in range(0, length, width)
        ]
    return results, positions


def _array(tokens: TokenFolder, name: str, kind: str) -> np.ndarray:
    path = tokens.folder / f"{name}.{kind}.npy"
    try:
        array: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is missing or damaged ({error}); remove {tokens.folder} and run dvc repro") from error
    return array


def summaries(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, statistics.Summary]:
    """{name: mean and interval over seeds} of the figures that all seeds have. `seeds`: {seed: result of evaluate}.

    Losses, perplexity and accuracy are of all tokens, bits per byte of whole documents where some fit; both of test, or of
    validation in a task without one.
    """
    figures = [_short(result) for result in seeds.values()]
    return {name: statistics.summary([own[name] for own in figures]) for name in figures[0] if all(name in own for own in figures)}


def _short(result: Mapping[str, Any]) -> dict[str, float]:
    splits = [split for split in ("validation", "test") if split in result]
    losses = {f"{split}_loss": result[split]["packed"]["loss"] for split in splits}
    losses |= {f"{split}_loss_{name}": own["packed"]["loss"] for split in splits for name, own in result[split].get("sources", {}).items()}
    chosen = result["test" if "test" in result else "validation"]
    packed, documents = chosen["packed"], chosen.get("documents", {})
    bits = packed if "skipped" in documents else {**packed, **documents}
    for name, own in chosen.get("sources", {}).items():
        losses[f"bits_per_byte_{name}"] = own["packed"]["bits_per_byte"]
    for name in HELDOUT:
        own = result.get(name, {}).get("documents", {})
        losses |= {f"{figure}_{name}": own[figure] for figure in ("bits_per_byte", "excess_bits_per_byte") if figure in own}
    pairs = result.get("pairs", {})
    losses |= {f"pairs_accuracy_{name}": own["accuracy"] for name, own in pairs.get("categories", {}).items()}
    losses |= {"pairs_accuracy": pairs["accuracy"]} if "accuracy" in pairs else {}
    names = ("bits_per_byte", "floor_bits_per_byte", "excess_bits_per_byte", "floor_loss")
    return {**losses, **{name: bits[name] for name in names if name in bits}, "perplexity": packed["perplexity"], "accuracy": packed["accuracy"]}


def tables(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Rows]:
    """The rows of positions.csv (seed, length, position, loss: the mean from the row before up to this position) and of length.csv.

    length.csv has the columns of every task kind; here floor and excess are empty, for windows that cut documents have no floor.
    """
    positions = [{"seed": seed, **row} for seed, result in seeds.items() for row in result["positions"]]
    lengths = [
        {"seed": seed, "length": int(length), "family": "all", "loss": figures["loss"], "floor": None, "excess": None, "accuracy": figures["accuracy"]}
        for seed, result in seeds.items()
        for length, figures in result["lengths"].items()
        if "skipped" not in figures
    ]
    return {"positions": positions, "length": lengths}
