"""What this machine offers."""

import atexit
import contextlib
import gc
import io
import os
import platform
import sys
from pathlib import Path

# The folder that holds this code: a checkout, a frozen copy of one, or where the package is installed.
ROOT = Path(__file__).resolve().parents[2]
WRITTEN = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)  # files that hold back what was written


def usable_cores() -> int:
    """The cores that this process may use: those it was given, where the system says so, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(processes: int) -> int:
    """Return the threads of each of several processes at once: the cores shared out, OMP_NUM_THREADS at most."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    share = max(1, usable_cores() // processes)
    return min(share, int(said)) if said.isdigit() and int(said) > 0 else share


def look_rarely_for_garbage() -> None:
    """Have Python look for garbage less often than it does by itself.

    What a program imports, torch above all, is hundreds of thousands of objects that stay. Looking through them again
    and again took a fifth of the time in which it starts.
    """
    gc.set_threshold(50_000, 20, 100)


def leave_garbage_at_the_end() -> None:
    """Have Python not look for garbage while it ends: half a second where torch was imported.

    For programs of ours, not for who imports this: what a `__del__` would do at the end may be left undone. What
    `atexit` and `weakref.finalize` do is done, and files that nobody closed are written out.
    """
    atexit.unregister(_leave_garbage)  # once, however often it is called
    atexit.register(_leave_garbage)


def _leave_garbage() -> None:
    """Write out what is open, and have Python collect no more, unless it would be told: by nanobind, below triton."""
    if "triton" in sys.modules:
        return
    for one in gc.get_objects():
        if type(one) in WRITTEN and not one.closed:
            with contextlib.suppress(OSError, ValueError):  # Python tells of those that are the program's output
                one.flush()
    gc.freeze()


def processor_name() -> str:
    """Return what the processor calls itself, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
