"""What libraries read only when a process starts, for every stage and command, without the user exporting anything.

glibc gives each large tensor back to the system and asks for it again at the next step: 460,000 page faults a step at
a vocabulary of 50,257, half of the time. numpy's OpenBLAS takes all cores for the smallest matrices, in every one of the
processes that share them: of two eigendecompositions of 128 x 128 side by side, on two cores, each took 37 to 42 ms, and
takes 1.1 on a thread of its own. So the process is replaced by itself once (some 20 ms, before anything heavy is imported).
"""

import os
import sys

SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),  # blocks below 4 GiB come from the heap, which is kept
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "OPENBLAS_NUM_THREADS": "1",
}


def apply() -> None:
    """Call first thing in a program. What the user has set in the environment wins."""
    missing = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    if missing and sys.platform == "linux":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | missing)
