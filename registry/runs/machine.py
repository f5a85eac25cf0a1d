"""What this machine offers."""

import os
from pathlib import Path

# The folder that holds this code: a checkout, a frozen copy of one, or where the package is installed.
ROOT = Path(__file__).resolve().parents[2]


def usable_cores() -> int:
    """The cores that this process may use: those it was given, where the system says so, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
