"""A proof re-run from a checkpoint, with the hashes of all that it depends on."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from picollm.core import fingerprint
from picollm.core.files import sha256
from picollm.evaluation._addition import adder, proof, strata
from picollm.training.checkpoints import read_config

Kind = Literal["auto", "certificate", "exhaustive", "strata"]


def verify(checkpoint: Path, kind: Kind = "auto", processes: int = 1, state: Path | None = None) -> dict[str, Any]:
    """`auto`: a certificate where the model allows one, else all pairs, else strata. "listed" are failing pairs [a, b, what was said]."""
    started = time.monotonic()
    model, config = adder.load(checkpoint)
    facts = read_config(checkpoint, "fingerprint")
    if kind == "auto":
        countable = config.padding == "fixed" and config.operands == 2 and config.base ** (2 * config.digits[1]) <= 10**9
        kind = "certificate" if proof.why_no_certificate(model, config) is None else "exhaustive" if countable else "strata"
    if kind == "strata":
        measured = strata.measure(model, config)
        rates = [rate for name in ("lengths", "chains", "suites") for rate in measured[name].values()]
        counts = {"pairs": sum(rate["n"] for rate in rates), "failures": sum(rate["n"] - rate["successes"] for rate in rates)}
        figures: dict[str, Any] = {**counts, "holds": float(counts["failures"] == 0), "listed": []}
    else:
        figures = proof.prove(model, config, kind, processes, state, f"verify {checkpoint.parent.name}").figures()
    return {
        **figures,
        "kind": kind,
        "parameters": model.n_parameters,
        "code": fingerprint.code(),
        "configuration": hashlib.sha256(json.dumps({"model": facts["model"], "task": asdict(config)}, sort_keys=True).encode()).hexdigest(),
        "data": hashlib.sha256(f"all pairs of {config.base}^{config.digits[1]}, {kind}".encode()).hexdigest(),
        "training": facts["fingerprint"],
        "checkpoint": sha256(checkpoint / "model.safetensors"),
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - started, 1),
    }
