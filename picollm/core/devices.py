"""The device and threads a stage computes on, set so that the same run gives the same bits."""

import os

import torch

from picollm.core.errors import UserError


def resolve(name: str) -> torch.device:
    """`auto | cpu | cuda[:n] | mps` to a device that is there. Raises UserError when it is not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device: unknown {name!r}; use auto, cpu, cuda, cuda:N or mps") from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if (device.index or 0) >= there:
        raise UserError(f"device: {name} is not on this machine; use auto or cpu")
    return device


def prepare(name: str, threads: int) -> torch.device:
    """Called once by a stage before it computes anything."""
    device = resolve(name)
    torch.set_num_threads(threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its bits only with a fixed workspace
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms(True), which would import the compiler, for a second or two
    return device
