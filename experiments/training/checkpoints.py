"""A replicate's checkpoints: full-state files, each written whole by rank 0, whatever number of processes trains."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from experiments.training.processes import Processes
from registry.errors import RunError

VISIBLE_WITHIN = 120.0  # seconds within which other machines see a file that was written; NFS may hide it for 60


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """A checkpoint's content, or None where the file is damaged (by a file system; ours are written whole)."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return None
    # Random states live on the CPU, whatever the device.
    return state | {key: state[key].cpu() for key in ("generator", "torch_generator")}


def read_written(path: Path, processes: Processes, device: torch.device | str) -> dict[str, Any]:
    """A checkpoint that is known to be there; machines other than rank 0's may see it a little later.

    Raises:
        RunError: it is not there, or damaged.
    """
    until = time.monotonic() + (0.0 if processes.is_first else VISIBLE_WITHIN)
    while (state := read_checkpoint(path, device)) is None:
        if time.monotonic() > until:
            shared = "" if processes.alone else f"; do all machines see {path.parent}?"
            raise RunError(f"{path}: no readable checkpoint of the last step{shared}")
        time.sleep(1.0)
    return state


def newest_checkpoint(folder: Path, processes: Processes, device: torch.device | str) -> dict[str, Any] | None:
    """The newest readable checkpoint, the one that rank 0 finds in every process, or None."""
    found: tuple[str, dict[str, Any]] | None = None
    if processes.is_first:
        read = ((path.name, read_checkpoint(path, device)) for path in sorted(folder.glob("step-*.pt"), reverse=True))
        found = next(((name, state) for name, state in read if state is not None), None)
    name = processes.shared(found[0] if found else None)
    if found is not None or name is None:
        return found and found[1]
    return read_written(folder / name, processes, device)


def write_checkpoint(folder: Path, state: dict[str, Any], keep: int) -> None:
    """Write a checkpoint atomically, then remove the oldest ones beyond `keep`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{state['step']:08d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    for old in sorted(folder.glob("step-*.pt"))[:-keep]:
        old.unlink()
    for left in folder.glob(".*.tmp"):
        left.unlink()
