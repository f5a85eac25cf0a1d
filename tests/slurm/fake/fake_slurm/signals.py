"""Signals to the process groups of a running task; each has a file in the task's folder of steps."""

import os
import signal
from pathlib import Path

BATCH = ".batch"


def note(steps: Path, group: int, batch: bool = False) -> Path:
    """Note a process group."""
    path = steps / f"{group}{BATCH if batch else ''}"
    path.touch()
    return path


def send(steps: Path, number: int, batch: bool = False) -> int:
    """Signal the groups of the steps (or of the batch script); returns how many were there."""
    sent = 0
    for path in steps.glob(f"[0-9]*{BATCH}" if batch else "[0-9]*"):
        if batch or path.suffix != BATCH:
            try:
                os.killpg(int(path.stem), number)
                sent += 1
            except (ProcessLookupError, PermissionError):
                continue
    return sent


def send_all(steps: Path, number: int) -> None:
    """Signal every process of a task; the stopped ones as well."""
    for batch in (False, True):
        send(steps, number, batch)
        if number != signal.SIGKILL:
            send(steps, signal.SIGCONT, batch)
