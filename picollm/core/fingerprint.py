"""One hash for all that decides a result: parameters, data and code.

It names the folder a killed training resumes from, and the tag by which its MLflow run is found again, also when DVC
brought the outputs back from its cache and nothing ran.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WITHOUT_EFFECT = ("picollm.tracking", "picollm.report", "picollm.forkserver")  # they watch a result, they do not make it


def code(without: Iterable[str] = ()) -> str:
    """A hash over the source of every module of the project that this process has imported, but for those named in `without`."""
    left_out = set(without)
    digest = hashlib.sha256()
    for name in sorted(sys.modules):
        file = getattr(sys.modules[name], "__file__", None)
        if file and name.split(".")[0] in ("picollm", "stages") and not name.startswith(WITHOUT_EFFECT) and name not in left_out:
            digest.update(name.encode() + b"\0" + Path(file).read_bytes() + b"\0")
    return digest.hexdigest()


def fingerprint(parameters: Any, data: str) -> str:
    """16 hexadecimal digits. Call it when everything that computes has been imported."""
    text = json.dumps(parameters, sort_keys=True)
    return hashlib.sha256("\0".join((text, data, code())).encode()).hexdigest()[:16]
