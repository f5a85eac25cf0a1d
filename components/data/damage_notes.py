"""What a process leaves that met a damaged block of a cache: whoever opens the cache next encodes it again."""

import contextlib
from pathlib import Path

import numpy as np

from registry.errors import RunError
from registry.runs.arrays import ArrayFile, DamagedError
from registry.runs.files import write_atomically


def note_of(file: Path) -> Path:
    """Where a process notes that it met a damaged block."""
    return file.with_suffix(".damaged")


def read_rows(file: ArrayFile, numbers: np.ndarray) -> np.ndarray:
    """Return rows of a cache's file by number; a block that is damaged is noted.

    Raises:
        RunError: the file is damaged there.
    """
    try:
        return file.rows(numbers)
    except DamagedError as error:
        with contextlib.suppress(OSError):
            write_atomically(note_of(file.path), f"{error}\n")
        raise RunError(f"{error}; nothing was computed from them, and `retry` encodes them again") from None
