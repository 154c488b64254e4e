"""Models of ours beside the same weights in TransformerLens, which lives in an environment of its own: `make parity-lens`.

Elsewhere nothing of this folder is collected.
"""

from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from lens_models import ARCHITECTURES, N, built, repeated

from picollm.nn.decoder import Model
from picollm.training.checkpoints import load_model

HERE = find_spec("transformer_lens") is not None
collect_ignore_glob = [] if HERE else ["test_*.py"]

TOLERANCE = 1e-5
LARGEST: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))  # difference, and number


def stored() -> list[str]:
    """Checkpoints that a study has left here, of models that TransformerLens can express."""
    from lens_bridge import expressible  # which only its environment can import

    folders = [file.parent for file in sorted(Path("data/checkpoints").glob("*/seed0/model.safetensors"))]
    return [str(folder) for folder in folders if expressible(load_model(folder))]


CASES = [*((name, weights) for name in ARCHITECTURES for weights in ("random", "trained")), *((folder, "stored") for folder in (stored() if HERE else []))]


@pytest.fixture(scope="session", params=CASES, ids="-".join)
def model(request) -> Model:
    name, weights = request.param
    return (load_model(Path(name)).eval() if weights == "stored" else built(name, weights)).double()


@pytest.fixture(scope="session")
def bridge(model):
    from lens_bridge import bridged

    return bridged(model)


@pytest.fixture
def ids() -> torch.Tensor:
    return repeated(N, 1000)


@pytest.fixture
def close() -> Callable[..., None]:
    """close("logits", ours, theirs): no number of the two is further apart than TOLERANCE; the summary says how far."""

    def compared(what: str, ours: object, theirs: object) -> None:
        a, b = (torch.as_tensor(x).detach().double() for x in (ours, theirs))
        assert a.shape == b.shape, f"{what}: {tuple(a.shape)} and {tuple(b.shape)}"
        assert a.isfinite().all()
        apart, largest = float((a - b).abs().max()), float(b.abs().max())
        LARGEST[what] = max(LARGEST[what][0], apart), max(LARGEST[what][1], largest)
        assert apart <= TOLERANCE, f"{what}: {apart:.2g} apart, the largest is {largest:.3g}"

    return compared


def pytest_terminal_summary(terminalreporter) -> None:
    if LARGEST:
        terminalreporter.section(f"largest difference from TransformerLens, bar {TOLERANCE:g}; largest number compared")
        for what, (apart, largest) in LARGEST.items():
            terminalreporter.write_line(f"{what:<48} {apart:8.1e} {largest:8.2g}")
