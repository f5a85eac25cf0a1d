"""What this machine offers."""

import atexit
import gc
import os
import platform
import sys
from pathlib import Path

# The folder that holds this code: a checkout, a frozen copy of one, or where the package is installed.
ROOT = Path(__file__).resolve().parents[2]


def usable_cores() -> int:
    """The cores that this process may use: those it was given, where the system says so, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(processes: int) -> int:
    """Return the threads of each of several processes at once: the cores shared out, OMP_NUM_THREADS at most."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    share = max(1, usable_cores() // processes)
    return min(share, int(said)) if said.isdigit() and int(said) > 0 else share


def look_rarely_for_garbage() -> None:
    """Have Python look for garbage less often than it does by itself, and not while it ends.

    What a program imports, torch above all, is hundreds of thousands of objects that stay. Looking through them again
    and again took a fifth of the time in which it starts, and half a second when it ends, where the system takes all
    memory back. What `atexit` and `weakref.finalize` close is closed all the same.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(_leave_garbage)


def _leave_garbage() -> None:
    """Have Python look for no more garbage, unless that is told: nanobind, below triton, would name all as leaked."""
    if "triton" not in sys.modules:
        gc.freeze()


def processor_name() -> str:
    """Return what the processor calls itself, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
