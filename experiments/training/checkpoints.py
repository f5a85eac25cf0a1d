"""A training's checkpoints: full-state files, each written whole by rank 0, whatever number of processes trains.

Beside `step-00000100.pt` stands `step-00000100.json`: its SHA-256, and the training, seed and data that it is of. What
does not match is left out, since a damaged or foreign state would give other numbers without a word.
"""

import hashlib
import json
import os
import pickle
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from components.data.prepare import Prepared
from experiments.training.processes import Processes
from registry.errors import RunError
from registry.parts.start_files import checkpoints_in, kept_steps, step_of
from registry.runs.files import write_atomically
from registry.runs.records import read_json
from registry.runs.replicate import Replicate

VISIBLE_WITHIN = 120.0  # seconds within which other machines see a file that was written; NFS may hide it for 60
NEEDED = ("step", "model", "ema", "optimiser", "generator", "torch_generator", "sums", "summed")


@dataclass(frozen=True)
class Origin:
    """What a checkpoint is of.

    Args:
        training: its identity.
        seed: of the training.
        data_digest: of the manifest that it is trained on.
    """

    training: str
    seed: int
    data_digest: str


def origin_of(replicate: Replicate, prepared: Prepared) -> Origin:
    """Return what the checkpoints of a replicate's training are of."""
    return Origin(replicate.spec.training, replicate.seed, prepared.digest)


def path_of(training: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return training / "checkpoints" / f"step-{step:08d}.pt"


def damage_of(path: Path, origin: Origin) -> str:
    """Return why a checkpoint cannot be believed, empty where it can: it is hashed as a whole.

    Args:
        path: the checkpoint.
        origin: what it should be of.
    """
    about = read_json(path.with_suffix(".json"))
    if not path.exists():
        return "is not there"
    if about is None:
        return "has no readable checksum beside it"
    for name, own in (("step", step_of(path)), *vars(origin).items()):
        if about.get(name) != own:
            return f"is of {name.replace('_', ' ')} {about.get(name)}, not of {own}"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != about.get("sha256"):
            return "does not match its checksum"
    return ""


def read_checkpoint(path: Path, origin: Origin, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return a checkpoint's content.

    Raises:
        RunError: it is not there, damaged, or of something else.
    """
    if why := damage_of(path, origin):
        raise RunError(f"{path}: {why}")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(f"{path}: cannot be read: {type(error).__name__}") from None
    if not isinstance(state, dict) or (lacking := [key for key in NEEDED if key not in state]):
        raise RunError(f"{path}: is no checkpoint of this workbench: it lacks {', '.join(lacking)}")
    # Random states live on the CPU, whatever the device.
    return state | {key: state[key].cpu() for key in ("generator", "torch_generator")}


def read_written(path: Path, origin: Origin, processes: Processes, device: torch.device | str) -> dict[str, Any]:
    """Return a checkpoint that is known to be there; machines other than rank 0's may see it a little later.

    Raises:
        RunError: it is not there, or damaged.
    """
    until = time.monotonic() + (0.0 if processes.is_first else VISIBLE_WITHIN)
    while True:
        try:
            return read_checkpoint(path, origin, device)
        except RunError as error:
            if time.monotonic() > until:
                shared = "" if processes.alone else f"; do all machines see {path.parent}?"
                raise RunError(f"{error}{shared}") from None
        time.sleep(1.0)


def newest_checkpoint(
    training: Path, origin: Origin, processes: Processes, device: torch.device | str, most: int | None = None
) -> dict[str, Any] | None:
    """Return the newest checkpoint that can be believed, the one that rank 0 finds in every process, or None.

    Args:
        training: its folder.
        origin: what its checkpoints are of.
        processes: those that work together.
        device: where tensors are loaded to.
        most: the last step that it may be of; None: any.
    """
    found: tuple[Path, dict[str, Any]] | None = None
    if processes.is_first:
        for path in reversed(checkpoints_in(training)):
            if most is not None and (step_of(path) or 0) > most:
                continue
            try:
                found = path, read_checkpoint(path, origin, device)
                break
            except RunError as error:
                print(f"{error}; it is left out", flush=True)
    name = processes.shared(found[0].name if found else None)
    if found is not None or name is None:
        return found and found[1]
    return read_written(training / "checkpoints" / name, origin, processes, device)


def write_checkpoint(
    training: Path, origin: Origin, state: dict[str, Any], keep: int, needed: Collection[int] = ()
) -> None:
    """Write a checkpoint atomically, then remove the oldest ones beyond `keep`.

    Args:
        training: its folder.
        origin: what the state is of.
        state: everything that the next step depends on.
        keep: how many checkpoints stay.
        needed: steps whose checkpoints stay as well, because somebody will evaluate them; so do those that others
            start from (`kept_steps`).

    Raises:
        RunError: the disk is full, or cannot be written.
    """
    path = path_of(training, state["step"])
    path.parent.mkdir(exist_ok=True)
    for left in path.parent.glob(".*.tmp"):
        left.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(state, hashing)  # type: ignore[arg-type]  # it needs no more of a file than to write
            file.flush()
            os.fsync(file.fileno())
        about = {"step": state["step"], **vars(origin), "sha256": hashing.digest.hexdigest()}
        write_atomically(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) and error.strerror else hashing.failed or str(error)
        raise RunError(f"{path}: cannot be written: {why}; `retry` goes on from the checkpoint before it") from error
    stay = {*needed, *kept_steps(training)}
    for old in checkpoints_in(training)[:-keep]:
        if step_of(old) not in stay:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)


class _Hashing:
    """A file that hashes what is written to it; torch writes a checkpoint from its beginning to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.failed = file, hashlib.sha256(), ""

    def write(self, data: Any) -> int:
        try:
            self.digest.update(data)
            return self.file.write(data)
        except OSError as error:  # torch would tell it as an enforce that fails
            self.failed = error.strerror or str(error)
            raise

    def flush(self) -> None:
        self.file.flush()
