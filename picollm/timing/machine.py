"""What the times were measured on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("torch", "dvc", "mlflow", "numpy")


def facts() -> list[tuple[str, str]]:
    return [
        ("processor", _processor()),
        ("cores", f"{psutil.cpu_count(logical=False)} ({os.cpu_count()} threads)"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"),
        ("system", platform.platform(terse=True)),
        ("python", platform.python_version()),
        *((name, version(name)) for name in PACKAGES),
    ]


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.startswith("model name")] if listed.exists() else []
    )
    return names[0] if names else platform.processor() or platform.machine()
