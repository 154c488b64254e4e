"""Models to and from the folders of Hugging Face transformers, which itself is not needed for it.

A file of this folder is an architecture: its `CLASS`, what a model of ours `NEEDS` to be one, what a config.json must have as
`FIXED` (with `ABSENT`, where leaving a key out means something else), and how config.json (`describe`, `block`) and weights (`links`) correspond.
"""

from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from picollm import models
from picollm.core import registry
from picollm.core.errors import UserError
from picollm.core.files import read_json, write_json, write_text
from picollm.exchange import _tokenizers
from picollm.exchange._links import to_ours, to_theirs
from picollm.nn.decoder import DEEP, Config
from picollm.tokenizers._shared import END
from picollm.training import checkpoints

OURS = "picollm"  # the entry of config.json with what a checkpoint of ours says beside the model
# What no architecture there has: these options must be as they are by default.
COMMON = ("attention", "short_conv", "output_norm", "softmax_scale", "qk_norm", "norm_position", "position_ids", "column_window", "loops", "input_injection")
DERIVED = ("attn.bias", "attn.masked_bias", "rotary_emb.inv_freq", "attention.bias", "attention.masked_bias", "mlp.router.weight", "mlp.router.bias")


def export(checkpoint: Path, target: Path) -> list[str]:
    """Write config.json, model.safetensors and the tokenizer's files for `AutoModelForCausalLM.from_pretrained(target)`.

    Returns notes on what could not go along. Raises UserError for a model without counterpart there.
    """
    must_be_empty(target)
    model, facts = checkpoints.load_model(checkpoint), checkpoints.read_config(checkpoint)
    config = model.config
    if not isinstance(config, Config):
        raise UserError(f"{checkpoint}: an {config.kind} has no counterpart in transformers; export a decoder")
    kind = _fitting(config, checkpoint)
    architecture = _load(kind)
    ours = model.state_dict()
    weights = to_theirs(ours, architecture.links(config)) | (architecture.extra(config) if hasattr(architecture, "extra") else {})
    if not config.tie_embeddings:
        weights["lm_head.weight"] = ours["head.weight"]
    common = {"architectures": [architecture.CLASS], "model_type": kind, "vocab_size": model.vocab_size, "tie_word_embeddings": config.tie_embeddings}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), model.vocab_size - 1)
    kept = {key: value for key, value in facts.items() if key not in ("format", "model", "vocab_size")}
    write_json(target / "config.json", {**common, **ends, "dtype": "float32", **architecture.describe(config), OURS: kept})
    checkpoints.save_tensors(target / "model.safetensors", weights, {"format": "pt"})
    return _export_tokenizer(facts.get("tokenizer"), target)


def import_(source: Path, target: Path) -> list[str]:
    """Write the model in the folder `source` as a checkpoint of ours. Returns notes, raises UserError as `export` does."""
    must_be_empty(target)
    theirs = read_json(source / "config.json") if source.is_dir() else None
    if not isinstance(theirs, dict) or "model_type" not in theirs:
        raise UserError(f"{source}: no model of transformers; name a folder with config.json and *.safetensors")
    kind = theirs["model_type"]
    if kind not in registry.names("exchange"):
        raise UserError(f"{source / 'config.json'}: model_type {kind} has no counterpart here (known: {', '.join(registry.names('exchange'))})")
    architecture = _load(kind)
    implied = {**architecture.FIXED, **getattr(architecture, "ABSENT", {})}
    for key, value in architecture.FIXED.items():
        if theirs.get(key, implied[key]) != value:
            raise UserError(f"{source / 'config.json'}: {key} {theirs.get(key, 'as by default')} has no counterpart here, which has {value} alone")
    block = _block(architecture, theirs, source)
    config = models.configure(block, f"{source / 'config.json'}: model")
    model = models.build(block, theirs["vocab_size"], f"{source / 'config.json'}: model")
    checkpoints.fill(model, _our_weights(_read_weights(source, architecture.PREFIX), architecture, model, source), source)
    foreign = {"kind": "text", "targets": False, "whole": True, "run": source.resolve().name, "context": config.block_size}
    facts = dict(theirs.get(OURS, foreign))
    notes = []
    if "tokenizer" not in facts:
        file = source / "tokenizer.json"
        found = _tokenizers.to_ours(file.read_text(encoding="utf-8"), theirs["vocab_size"]) if file.exists() else None
        if found is None:
            notes.append("the tokenizer stays behind: " + (f"{file} is not GPT-2's kind of byte pairs" if file.exists() else "there is no tokenizer.json"))
        else:
            facts["tokenizer"] = found
    checkpoints.save_model(target, model, {**facts, "model": block})
    return notes


def _load(kind: str) -> ModuleType:
    return registry.load("exchange", kind, "model_type")


def must_be_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: is there already; name a new folder")


def _fitting(config: Config, checkpoint: Path) -> str:
    """The architecture that has all of the model's options. Raises UserError that names what the nearest one lacks."""
    has = _plain(asdict(config))
    defaults = {field.name: field.default for field in fields(Config) if field.default is not MISSING}
    lacks: dict[str, list[str]] = {}
    for kind in registry.names("exchange"):
        needs = {**{name: (defaults[name],) for name in COMMON}, **_load(kind).NEEDS}
        lacks[kind] = [f"{name}: {_yaml(has[name])}" for name, allowed in needs.items() if has[name] not in allowed]
    nearest = min(lacks, key=lambda kind: len(lacks[kind]))
    if lacks[nearest]:
        raise UserError(f"{checkpoint}: has no counterpart in transformers; the nearest, {_load(nearest).CLASS}, lacks {', '.join(lacks[nearest])}")
    return nearest


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    """A block whose heads are said in the one way, None where the others imply the number."""
    shared, width = block.get("n_kv_head"), block.get("head_width")
    implied = {"n_kv_head": shared == block["n_head"], "head_width": (width or 0) * block["n_head"] == block["d_model"]}
    return block | {name: None for name, known in implied.items() if known}


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _block(architecture: ModuleType, theirs: dict[str, Any], source: Path) -> dict[str, Any]:
    """Our parameters, those at their defaults left out."""
    try:
        ours = architecture.block(theirs)
    except KeyError as error:
        raise UserError(f"{source / 'config.json'}: says nothing of {error.args[0]}; complete it") from error
    except ValueError as error:
        raise UserError(f"{source / 'config.json'}: {error} have no counterpart here") from error
    if ours["n_layer"] > DEEP:
        ours["allow_deep"] = True
    if ours.get("qkv_bias") == ours.get("bias", True):
        ours["qkv_bias"] = None
    defaults = {field.name: field.default for field in fields(Config)}
    return {"kind": "transformer", **{key: value for key, value in _plain(ours).items() if value != defaults[key]}}


def _read_weights(source: Path, prefix: str) -> dict[str, Tensor]:
    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise UserError(f"{source}: holds no *.safetensors; other formats are not read, save it again with safe_serialization")
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            weights |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file}: truncated or not a safetensors file ({error}); fetch it again") from error
    bare = not any(name.startswith(prefix) for name in weights)
    named = {f"{prefix}{name}" if bare and not name.startswith("lm_head") else name: value for name, value in weights.items()}
    return {"lm_head.weight" if name == "embed_out.weight" else name: value for name, value in named.items()}  # GPT-NeoX, of old


def _our_weights(theirs: dict[str, Tensor], architecture: ModuleType, model: models.Model, source: Path) -> dict[str, Tensor]:
    links = architecture.links(model.config)
    known = {name for link in links for name in link.theirs} | {"lm_head.weight"}
    strange = sorted(name for name in theirs if name not in known and not name.endswith(DERIVED))
    if strange:
        raise UserError(f"{source}: its weights {', '.join(strange[:3])} have no counterpart here")
    try:
        ours = to_ours(theirs, [link for link in links if link.ours in model.state_dict()])  # without biases that theirs has none of either
        if not model.config.tie_embeddings:
            ours["head.weight"] = theirs["lm_head.weight"].float()
    except KeyError as error:
        raise UserError(f"{source}: the weight {error.args[0]} is missing; fetch all of its *.safetensors") from error
    return ours


def _export_tokenizer(tokenizer: dict[str, Any] | None, target: Path) -> list[str]:
    theirs = _tokenizers.to_theirs(tokenizer) if tokenizer else None
    if theirs is None:
        return [f"the tokenizer stays behind: {tokenizer['kind']} has no counterpart there" if tokenizer else "the checkpoint has no tokenizer"]
    write_text(target / "tokenizer.json", theirs.to_str())
    write_json(target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END})
    return []
